"""The optional safety checker: an ONNX classifier that looks at every picture, what comes in and what goes out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from serving.errors import ConfigurationError, ContentBlocked
from serving.memory import MemoryBudget
from serving.pipelines.base import Runtime
from serving.pipelines.classifier import ONNXClassifier

# Of a video, this many frames are looked at, evenly spread.
_FRAMES = 8


class SafetyChecker:
    """Blocks what the classifier gives `label` a probability of at least `threshold`."""

    def __init__(self, folder: Path, label: str, threshold: float, runtime: Runtime, memory: MemoryBudget) -> None:
        self._classifier = ONNXClassifier(folder, runtime, memory)
        self._label, self._threshold = label, threshold
        if label not in self._classifier.description.labels:
            raise ConfigurationError("INFERENCE_SAFETY_LABEL", f"The safety model has no label {label}.")

    def check(self, images: Sequence[Image.Image]) -> None:
        """Raises ContentBlocked, PipelineFailed."""
        if images and any(dict(scores)[self._label] >= self._threshold for scores in self._classifier.scores(images)):
            raise ContentBlocked()

    def check_frames(self, frames: npt.NDArray[np.uint8]) -> None:
        """The same for (frames, height, width, 3) pixels."""
        picked = np.unique(np.linspace(0, len(frames) - 1, min(_FRAMES, len(frames))).astype(int))
        self.check([Image.fromarray(frames[index]) for index in picked])
