"""The pipeline port: a model that does one or more tasks, a batch at a time.

`run` is called from one thread, never twice at once, with jobs whose `batch_key` is equal, and returns one output for
each, in order. A job's output does not depend on its company beyond the rounding of the device's arithmetic: the
randomness is its own seed's. `run` calls `on_step(step, steps)` after every step, which may raise Interrupted; then
it stops at once. Raises OutOfMemory, PipelineFailed.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from serving.requests import Request

StepCallback = Callable[[int, int], None]


class Runtime(msgspec.Struct, frozen=True):
    """Where models run: the device and the type of their weights."""

    device: torch.device
    dtype: torch.dtype
    threads: int


class Job:
    """A request made ready for the model: pictures decoded and sized, the seed drawn.

    `listener(step, steps)` runs on the event loop after each step. Setting `cancelled` is how a caller leaves.
    """

    __slots__ = (
        "__weakref__",
        "cancelled",
        "height",
        "images",
        "listener",
        "mask",
        "request",
        "seed",
        "width",
    )

    def __init__(
        self,
        request: Request,
        *,
        seed: int = 0,
        width: int = 0,
        height: int = 0,
        images: Sequence[Image.Image] = (),
        mask: Image.Image | None = None,
    ) -> None:
        self.request = request
        self.seed = seed
        self.width = width
        self.height = height
        self.images = tuple(images)
        self.mask = mask
        self.cancelled = False
        self.listener: StepCallback | None = None


class Frames(msgspec.Struct, frozen=True):
    """(frames, height, width, 3) pixels; a picture is one frame."""

    pixels: npt.NDArray[np.uint8]


class Scores(msgspec.Struct, frozen=True):
    """For each picture every label with its probability, the likeliest first."""

    pictures: list[list[tuple[str, float]]]


Output = Frames | Scores


class Pipeline(Protocol):
    name: str
    tasks: frozenset[str]
    size_multiple: int

    def batch_key(self, job: Job) -> Hashable:
        """Jobs of equal keys may run together."""
        ...

    def pixels(self, job: Job) -> int:
        """The job's size for the cap on a batch: pixels x frames."""
        ...

    def activation_bytes(self, job: Job) -> int:
        """An upper estimate of the memory that the job needs beside the weights."""
        ...

    def batch_size(self, available: int) -> int:
        """How many of `available` jobs to take: fewer where only some sizes are compiled."""
        ...

    def run(self, jobs: Sequence[Job], on_step: StepCallback) -> list[Output]: ...

    def warm_up(self) -> None:
        """Everything that the first request would otherwise pay for."""
        ...
