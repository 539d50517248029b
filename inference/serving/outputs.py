"""From a model's output to an answer: looked at by the safety checker, encoded, signed, stored."""

import base64

import msgspec

from serving import images, video
from serving.config import Settings
from serving.errors import PipelineFailed, ResultTooLarge
from serving.objects import Objects
from serving.pipelines.base import Job, Output, Scores
from serving.provenance import ContentCredentials
from serving.requests import Classify, Text2Video, task
from serving.safety import SafetyChecker

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "mp4": "video/mp4"}


class Label(msgspec.Struct, frozen=True):
    label: str
    score: float


class Classified(msgspec.Struct, frozen=True, kw_only=True):
    """The labels of each picture, the likeliest first; scores are probabilities."""

    task: str
    model: str
    images: list[list[Label]]


class Generated(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The file is in `data` (base64 in JSON), or in object storage under `output_uri`."""

    task: str
    model: str
    seed: int
    width: int
    height: int
    media_type: str
    size_bytes: int
    data: bytes = b""
    output_uri: str = ""


Answer = Classified | Generated


class Outputs:
    """Blocking: runs in a worker thread, so that the model's thread never waits for a file."""

    def __init__(
        self,
        settings: Settings,
        objects: Objects,
        checker: SafetyChecker | None,
        credentials: ContentCredentials | None,
    ) -> None:
        self._settings, self._objects = settings, objects
        self._checker, self._credentials = checker, credentials

    def answer(self, job: Job, output: Output, model: str, pointer: str) -> Answer:
        """Raises ContentBlocked, ResultTooLarge, ObjectUnavailable, SigningFailed, PipelineFailed."""
        request, name = job.request, task(job.request)
        if isinstance(output, Scores):
            pictures = [[Label(label, score) for label, score in scores] for scores in output.pictures]
            return Classified(task=name, model=model, images=pictures)
        if isinstance(request, Classify):
            raise PipelineFailed("A classification gave a picture.")
        if self._checker:
            self._checker.check_frames(output.pixels)
        if isinstance(request, Text2Video):
            kind, data = "mp4", video.encode(output.pixels, request.fps)
        else:
            kind = request.format or "png"
            data = images.encode(output.pixels[0], kind)
        if self._credentials:
            data = self._credentials.sign(data, MEDIA_TYPES[kind], name, model)
        made = Generated(
            task=name,
            model=model,
            seed=job.seed,
            width=job.width,
            height=job.height,
            media_type=MEDIA_TYPES[kind],
            size_bytes=len(data),
        )
        if request.output_uri:
            self._objects.write(request.output_uri, data, MEDIA_TYPES[kind], f"{pointer}/output_uri")
            return msgspec.structs.replace(made, output_uri=request.output_uri)
        if len(base64.b64encode(data)) > self._settings.response_bytes:
            raise ResultTooLarge(f"The {len(data)} bytes of the result are more than an answer may carry.")
        return msgspec.structs.replace(made, data=data)
