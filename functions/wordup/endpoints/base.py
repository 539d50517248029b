"""The endpoint port: pictures, videos and classifications from the inference server, wherever it runs.

`generate` yields a `Step` for every denoising step as it is done and ends with exactly one `Media`. Closing its
iterator gives the work up; the server stops it. `classify` takes every picture of one question in one call.

Both raise InvalidField (its `pointer` is into the request), ContentBlocked, EndpointBusy, EndpointTimeout,
EndpointRefused, EndpointError. An adapter repeats nothing: a drawing costs money, and the caller knows whether it still
wants it. `timeout` is in seconds for a whole call. Nothing connects before the first call.
"""

from collections.abc import AsyncGenerator
from typing import Literal, Protocol

import msgspec

# A picture's bytes (they travel as base64), or its address in object storage.
Picture = bytes | str


class Generate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Sizes in pixels; `strength` is how much of `image` is made anew, 0 to 1; white in `mask` is made anew. What is
    None is the server's choice. With `output_uri` the file goes there and not into the answer."""

    task: Literal["text2img", "img2img", "inpaint", "text2video"]
    prompt: str
    negative_prompt: str = ""
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    seed: int | None = None
    strength: float | None = None
    image: Picture | None = None
    mask: Picture | None = None
    format: Literal["png", "jpeg", "webp"] | None = None
    frames: int | None = None
    fps: int | None = None
    output_uri: str = ""


class Classify(msgspec.Struct, frozen=True, kw_only=True, tag_field="task", tag="classify"):
    images: list[Picture]


class Step(msgspec.Struct, frozen=True):
    step: int
    steps: int


class Media(msgspec.Struct, frozen=True, kw_only=True):
    """The file, or where it is. Asking again with `seed` gives it again."""

    task: str
    model: str
    seed: int
    width: int
    height: int
    media_type: str
    size_bytes: int
    data: bytes = b""
    output_uri: str = ""


class Label(msgspec.Struct, frozen=True):
    label: str
    score: float


class Classification(msgspec.Struct, frozen=True, kw_only=True):
    """For each picture its labels with their probabilities, the likeliest first."""

    model: str
    images: list[list[Label]]


class Endpoint(Protocol):
    def generate(self, request: Generate) -> AsyncGenerator[Step | Media]: ...

    async def classify(self, request: Classify) -> Classification: ...

    async def close(self) -> None: ...
