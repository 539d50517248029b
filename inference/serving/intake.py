"""From a checked request to a job: pictures fetched, decoded and looked at, the size settled, the seed drawn."""

import base64
import binascii
import secrets

from PIL import Image

from serving import images
from serving.config import Settings
from serving.errors import InvalidImage, UnsupportedTask
from serving.memory import MemoryBudget
from serving.objects import Objects, is_address
from serving.pipelines.base import Job, Pipeline
from serving.requests import MAX_SEED, Classify, Generation, Img2Img, Inpaint, Request, check, check_size, task
from serving.safety import SafetyChecker


class Intake:
    """Blocking: runs in a worker thread, a few at a time, so that few large pictures are unfolded at once."""

    def __init__(
        self,
        pipelines: dict[str, Pipeline],
        settings: Settings,
        objects: Objects,
        memory: MemoryBudget,
        checker: SafetyChecker | None,
    ) -> None:
        self._pipelines = pipelines
        self._settings, self._objects, self._memory, self._checker = settings, objects, memory, checker

    def job(self, request: Request, pointer: str) -> Job:
        """Raises RequestError; `pointer` is where the request stands in the body, "" for the body itself."""
        name = task(request)
        if name not in self._pipelines:
            raise UnsupportedTask(
                f"No model here does {name}.", mend=f"This server does {', '.join(sorted(self._pipelines))}."
            )
        check(request, self._settings, pointer)
        job = (
            self._classification(request, pointer)
            if isinstance(request, Classify)
            else self._generation(request, pointer)
        )
        self._memory.check(self._pipelines[name].activation_bytes(job))
        if self._checker:
            self._checker.check(job.images)
        return job

    def _classification(self, request: Classify, pointer: str) -> Job:
        pictures = [self._picture(one, f"{pointer}/images/{index}") for index, one in enumerate(request.images)]
        return Job(request, images=pictures)

    def _generation(self, request: Generation, pointer: str) -> Job:
        if request.output_uri:
            self._objects.check_writable(request.output_uri, f"{pointer}/output_uri")
        multiple = self._pipelines[task(request)].size_multiple
        picture = self._picture(request.image, f"{pointer}/image") if isinstance(request, Img2Img) else None
        side = self._settings.sizes[0] if self._settings.sizes else (self._settings.default_side,) * 2
        if picture and not self._settings.sizes:
            side = _fitting(picture, multiple, self._settings.max_side)
        width, height = request.width or side[0], request.height or side[1]
        check_size(width, height, multiple, self._settings, pointer)
        mask = self._picture(request.mask, f"{pointer}/mask", "L") if isinstance(request, Inpaint) else None
        seed = secrets.randbelow(MAX_SEED) if request.seed is None else request.seed
        return Job(request, seed=seed, width=width, height=height, images=[picture] if picture else [], mask=mask)

    def _picture(self, text: str, pointer: str, mode: str = "RGB") -> Image.Image:
        if is_address(text):
            data = self._objects.read(text, pointer)
        else:
            try:
                data = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                raise InvalidImage(pointer, "The picture is neither base64 nor an address.") from None
        return images.decode(data, max_pixels=self._settings.input_pixels, pointer=pointer, mode=mode)


def _fitting(picture: Image.Image, multiple: int, most: int) -> tuple[int, int]:
    """The picture's own size, within the limit, each side rounded down to what the model takes."""
    scale = min(1.0, most / max(picture.size))
    width, height = (max(multiple, int(side * scale) // multiple * multiple) for side in picture.size)
    return width, height
