"""Classification by ONNX Runtime: `model.onnx` beside `classifier.json` (labels, input side, mean and std)."""

from collections.abc import Hashable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    RuntimeException,
)
from PIL import Image

from serving.errors import ModelRefused, PipelineFailed
from serving.memory import MemoryBudget
from serving.pipelines.base import Job, Output, Runtime, Scores, StepCallback

_BROKEN = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoSuchFile, RuntimeException)
# Feature maps of an image network at full resolution: 64 channels of float32, of which a few live at once.
_BYTES_PER_PIXEL = 64 * 4 * 4


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`size` is the side of the square input in pixels; pixels are scaled to 0..1, less `mean`, over `std`."""

    labels: list[str]
    size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class ONNXClassifier:
    tasks = frozenset({"classify"})
    size_multiple = 1

    def __init__(self, folder: Path, runtime: Runtime, memory: MemoryBudget) -> None:
        self.name = folder.name
        try:
            self.description = msgspec.json.decode((folder / "classifier.json").read_bytes(), type=Description)
        except (OSError, msgspec.DecodeError) as error:
            raise ModelRefused(f"classifier.json of {folder.name} cannot be read: {error}") from error
        memory.hold(folder.name, sum(path.stat().st_size for path in folder.glob("model.onnx*")))
        options = ort.SessionOptions()
        options.intra_op_num_threads = runtime.threads
        providers = ["CPUExecutionProvider"]
        if runtime.device.type == "cuda":
            providers.insert(0, "CUDAExecutionProvider")
        try:
            self._session = ort.InferenceSession(str(folder / "model.onnx"), options, providers)
        except _BROKEN as error:
            raise ModelRefused(f"model.onnx of {folder.name} cannot be loaded.") from error
        self._input = self._session.get_inputs()[0].name

    def batch_key(self, job: Job) -> Hashable:
        return self.name

    def pixels(self, job: Job) -> int:
        return len(job.images) * self.description.size**2

    def activation_bytes(self, job: Job) -> int:
        return self.pixels(job) * _BYTES_PER_PIXEL

    def batch_size(self, available: int) -> int:
        return available

    def run(self, jobs: Sequence[Job], on_step: StepCallback) -> list[Output]:
        scores = iter(self.scores([image for job in jobs for image in job.images]))
        on_step(1, 1)
        return [Scores([next(scores) for _ in job.images]) for job in jobs]

    def scores(self, images: Sequence[Image.Image]) -> list[list[tuple[str, float]]]:
        """Every label's probability for each picture, the likeliest first. Raises PipelineFailed."""
        described, side = self.description, self.description.size
        pixels = np.stack([np.asarray(image.resize((side, side)), dtype=np.float32) for image in images]) / 255
        normal = (pixels - np.array(described.mean, np.float32)) / np.array(described.std, np.float32)
        try:
            logits = np.asarray(self._session.run(None, {self._input: normal.transpose(0, 3, 1, 2)})[0])
        except _BROKEN as error:
            raise PipelineFailed() from error
        if logits.shape != (len(images), len(described.labels)) or not np.isfinite(logits).all():
            raise PipelineFailed("The classifier's scores do not match its labels.")
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances = odds / odds.sum(axis=1, keepdims=True)
        return [
            sorted(zip(described.labels, map(float, row), strict=True), key=lambda pair: -pair[1]) for row in chances
        ]

    def warm_up(self) -> None:
        side = self.description.size
        self.scores([Image.new("RGB", (side, side))])
