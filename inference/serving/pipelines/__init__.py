"""The models behind one port, and the one place that picks an adapter for a folder."""

from pathlib import Path

from serving.config import Settings
from serving.errors import ModelRefused
from serving.memory import MemoryBudget
from serving.metrics import Metrics
from serving.pipelines.base import Pipeline, Runtime
from serving.pipelines.classifier import ONNXClassifier
from serving.pipelines.diffusion import DiffusersPipeline


def load(folder: Path, settings: Settings, runtime: Runtime, memory: MemoryBudget, metrics: Metrics) -> Pipeline:
    """The pipeline in a checked folder, its weights held in the budget. Raises ModelRefused."""
    if (folder / "model_index.json").is_file():
        return DiffusersPipeline(folder, settings, runtime, memory, metrics)
    if (folder / "model.onnx").is_file():
        return ONNXClassifier(folder, runtime, memory)
    raise ModelRefused(
        f"{folder.name} holds neither a diffusers pipeline nor an ONNX classifier.",
        mend="The folder needs model_index.json, or model.onnx beside classifier.json.",
    )
