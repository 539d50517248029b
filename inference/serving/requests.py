"""What a caller may ask: one structure per task, the same on every platform.

A picture is base64 text or an object-storage address. Sizes are in pixels, `strength` is how much of the picture is
made anew (0 to 1). A seed makes the request repeatable; without one the server draws one and reports it.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from serving.config import Settings
from serving.errors import InvalidField

Picture = Annotated[str, Meta(min_length=1)]
Side = Annotated[int, Meta(ge=8, le=8192)]
# Schedulers are trained on 1,000 steps, and some count from 1: more than this many cannot be spread over them.
MAX_STEPS = 900
Steps = Annotated[int, Meta(ge=1, le=MAX_STEPS)]
Guidance = Annotated[float, Meta(ge=0, le=50)]
Strength = Annotated[float, Meta(gt=0, le=1)]
# What a double still tells exactly: JSON's numbers are doubles to Vertex AI and to JavaScript.
MAX_SEED = (1 << 53) - 1
Seed = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
ImageFormat = Literal["png", "jpeg", "webp"]


class Text2Img(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="task", tag="text2img"):
    prompt: str
    negative_prompt: str = ""
    width: Side | None = None
    height: Side | None = None
    steps: Steps = 25
    guidance_scale: Guidance = 5.0
    seed: Seed | None = None
    format: ImageFormat | None = None
    output_uri: str = ""


class Img2Img(Text2Img, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="img2img"):
    image: Picture
    strength: Strength = 0.75


class Inpaint(Img2Img, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="inpaint"):
    """White in `mask` is made anew, black is kept."""

    mask: Picture


class Text2Video(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="task", tag="text2video"
):
    """MP4 (H.264). `frames` is a multiple of 4, plus 1: the model's compression in time."""

    prompt: str
    negative_prompt: str = ""
    width: Side | None = None
    height: Side | None = None
    frames: Annotated[int, Meta(ge=1, le=1024)] = 49
    fps: Annotated[int, Meta(ge=1, le=60)] = 16
    steps: Steps = 30
    guidance_scale: Guidance = 5.0
    seed: Seed | None = None
    output_uri: str = ""


class Classify(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="task", tag="classify"):
    """Every picture of one question in one call: a video's faces cost one request, not one each."""

    images: Annotated[list[Picture], Meta(min_length=1)]


Generation = Text2Img | Img2Img | Inpaint | Text2Video
Request = Generation | Classify


def task(request: Request) -> str:
    return str(request.__struct_config__.tag)


def check(request: Request, settings: Settings, pointer: str) -> None:
    """Holds the request against the deployment's limits. Raises InvalidField; `pointer` is where the request stands."""
    if isinstance(request, Classify):
        _at_most(len(request.images), settings.input_images, f"{pointer}/images", "pictures")
        return
    _at_most(len(request.prompt), settings.prompt_characters, f"{pointer}/prompt", "characters")
    _at_most(len(request.negative_prompt), settings.prompt_characters, f"{pointer}/negative_prompt", "characters")
    if not request.prompt.strip():
        raise InvalidField(f"{pointer}/prompt", "The prompt is empty.")
    _at_most(request.steps, settings.max_steps, f"{pointer}/steps", "steps")
    if isinstance(request, Img2Img) and int(request.steps * request.strength) < 1:
        raise InvalidField(f"{pointer}/strength", "Steps times strength is below one step: nothing would be drawn.")
    if isinstance(request, Text2Video):
        _at_most(request.frames, settings.max_frames, f"{pointer}/frames", "frames")
        if request.frames % 4 != 1:
            raise InvalidField(f"{pointer}/frames", "The number of frames must be a multiple of 4, plus 1.")


def check_size(width: int, height: int, multiple: int, settings: Settings, pointer: str) -> None:
    """Holds an output's size against the limits and the model's `multiple`. Raises InvalidField."""
    for name, side in (("width", width), ("height", height)):
        _at_most(side, settings.max_side, f"{pointer}/{name}", "pixels")
        if side % multiple:
            raise InvalidField(f"{pointer}/{name}", f"The {name} must be a multiple of {multiple} pixels.")
    if settings.sizes and (width, height) not in settings.sizes:
        raise InvalidField(f"{pointer}/width", f"This server makes these sizes only: {settings.buckets}.")


def _at_most(value: int, most: int, pointer: str, unit: str) -> None:
    if value > most:
        raise InvalidField(pointer, f"{value} {unit} are more than the {most} that this server takes.")
