"""What the platforms wrap around a request and an answer.

One job per body: SageMaker `/invocations`, Azure ML `/score`, Vertex AI's rawPredict, your own machine. Vertex AI's
predict wraps several: `{"instances": [...], "parameters": {...}}` is answered by `{"predictions": [...]}`, where
`parameters` are defaults for every instance (cloud.google.com, "custom container requirements").
"""

import re
from typing import Literal

import msgspec

from serving.errors import InvalidField, MalformedJSON, NotAcceptable
from serving.outputs import MEDIA_TYPES, Answer, Generated
from serving.requests import MAX_SEED, Classify, Request, Text2Video

Kind = Literal["json", "events", "file"]
_FORMATS = {media_type: kind for kind, media_type in MEDIA_TYPES.items()}
_JSON = frozenset({"", "*/*", "application/json", "application/*"})
_PATH = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]")
_Object = dict[str, msgspec.Raw]


class Ask(msgspec.Struct, frozen=True):
    """The requests of one body, each with the JSON pointer to where it stands, and the wanted shape of the answer."""

    requests: list[tuple[Request, str]]
    instances: bool
    kind: Kind


class _Predictions(msgspec.Struct):
    predictions: list[Answer]


def parse(body: bytes, accept: str, max_instances: int) -> Ask:
    """Raises MalformedJSON, InvalidField, NotAcceptable."""
    fields = _object(body)
    if "instances" in fields:
        return Ask(_instances(fields, max_instances), True, "json")
    request = _request(body, "")
    kind, media_type = _wanted(accept)
    if kind == "file":
        request = _with_format(request, media_type)
    return Ask([(request, "")], False, kind)


def render(ask: Ask, answers: list[Answer]) -> tuple[bytes, str]:
    """The body and its Content-Type."""
    first = answers[0]
    if ask.kind == "file" and isinstance(first, Generated) and first.data:
        return first.data, first.media_type
    return msgspec.json.encode(_Predictions(answers) if ask.instances else first), "application/json"


def _instances(fields: _Object, most: int) -> list[tuple[Request, str]]:
    for name in fields:
        if name not in ("instances", "parameters"):
            raise InvalidField(f"/{name}", "Beside `instances` only `parameters` is known.")
    parameters = _object(fields["parameters"], "/parameters") if "parameters" in fields else {}
    try:
        instances = msgspec.json.decode(fields["instances"], type=list[msgspec.Raw])
    except msgspec.DecodeError:
        raise InvalidField("/instances", "`instances` is a list.") from None
    if not 1 <= len(instances) <= most:
        raise InvalidField("/instances", f"This server takes 1 to {most} instances at once, not {len(instances)}.")
    merged = [parameters | _object(raw, f"/instances/{index}") for index, raw in enumerate(instances)]
    return [
        (_request(_whole_numbers(msgspec.json.encode(one)), f"/instances/{index}"), f"/instances/{index}")
        for index, one in enumerate(merged)
    ]


def _whole_numbers(raw: bytes) -> bytes:
    """The same JSON, 2.0 written as 2. Vertex AI carries instances as protobuf Values, whose numbers are doubles."""
    return msgspec.json.encode(_DOUBLES.decode(raw))


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) <= MAX_SEED else number


_DOUBLES = msgspec.json.Decoder(float_hook=_number)


def _object(raw: bytes | msgspec.Raw, pointer: str = "") -> _Object:
    try:
        return msgspec.json.decode(raw, type=_Object)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if pointer:
            raise InvalidField(pointer, "This is no JSON object.") from None
        raise MalformedJSON() from None


def _request(raw: bytes, pointer: str) -> Request:
    try:
        return msgspec.json.decode(raw, type=Request)
    except msgspec.ValidationError as error:
        sentence, _, path = str(error).partition(" - at `$")
        where = "".join(f"/{name or index}" for name, index in _PATH.findall(path))
        raise InvalidField(pointer + where, f"{sentence}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedJSON() from None


def _wanted(accept: str) -> tuple[Kind, str]:
    for part in accept.lower().split(","):
        media_type = part.partition(";")[0].strip()
        if media_type in _JSON:
            return "json", ""
        if media_type == "text/event-stream":
            return "events", ""
        if media_type in _FORMATS or media_type in ("image/*", "video/*"):
            return "file", media_type
    raise NotAcceptable(
        "This server answers with none of the types in Accept.",
        mend=f"It gives application/json, text/event-stream, {', '.join(_FORMATS)}.",
    )


def _with_format(request: Request, media_type: str) -> Request:
    """The request with Accept's format. Raises NotAcceptable where the task or its `format` says otherwise."""
    family, _, _ = media_type.partition("/")
    if isinstance(request, Classify) or (family == "video") != isinstance(request, Text2Video):
        raise NotAcceptable(f"This task does not produce {media_type}.", mend="Leave Accept out for JSON.")
    if isinstance(request, Text2Video) or media_type == "image/*":
        return request
    kind = _FORMATS[media_type]
    if request.format not in (None, kind):
        raise NotAcceptable(f"`format` is {request.format}, Accept is {media_type}.", mend="Name one of them.")
    return msgspec.convert(msgspec.to_builtins(request) | {"format": kind}, type(request))
