"""Reading requests: a bounded body, its JSON, its types; who sent them. Whatever is wrong becomes a RequestError."""

import functools
import ipaddress
import re

import msgspec
from starlette.requests import Request

from wordup.auth import Credentials
from wordup.errors import InvalidField, MalformedJSON, TooLarge, UnknownField, UnsupportedMediaType

_UNKNOWN = re.compile(r"Object contains unknown field `(.+?)`")


async def body[T](request: Request, wanted: type[T], limit: int) -> T:
    """The body as `wanted`. Raises UnsupportedMediaType, TooLarge (over `limit` bytes), MalformedJSON, InvalidField,
    UnknownField."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaType
    raw = await _read(request, limit)
    try:
        return msgspec.json.decode(raw, type=wanted)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedJSON from error


def credentials(request: Request, proxies: int) -> Credentials:
    """What the request came with; `proxies` as in `client_address`."""
    return Credentials(
        authorization=request.headers.get("authorization"),
        access_key=request.headers.get("x-api-key"),
        address=client_address(request, proxies),
    )


def client_address(request: Request, proxies: int) -> str:
    """The caller's address, as the last of `proxies` trusted ones wrote it, or as the socket says where there are none.
    Of IPv6 the first 64 bits: whoever has one of those addresses has them all. "" for a caller without an address."""
    written = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    peer = request.client.host if request.client else ""
    text = written[-proxies].strip() if 0 < proxies <= len(written) else peer
    return _network(text) or peer


@functools.lru_cache(1_024)
def _network(text: str) -> str:
    """The address that is counted for a written one; "" for what is none."""
    # Azure writes the port too.
    bare = text.partition(":")[0] if text.count(":") == 1 else text.partition("]")[0].removeprefix("[")
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, 64), strict=False))
        address = address.ipv4_mapped
    return str(address)


async def _read(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise TooLarge(f"The body is larger than {limit:,} bytes.")
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > limit:
            raise TooLarge(f"The body is larger than {limit:,} bytes.")
    return bytes(received)


def _invalid(message: str) -> InvalidField:
    """msgspec's `Expected ... - at `$.a[0].b`` as an error with a JSON pointer."""
    sentence, _, path = message.partition(" - at `$")
    pointer = re.sub(r"\[(?:\.\.\.|(\d+))\]", lambda index: f"/{index[1] or '-'}", path.rstrip("`")).replace(".", "/")
    if unknown := _UNKNOWN.match(sentence):
        return UnknownField(f"{pointer}/{unknown[1]}", f"There is no field {unknown[1]!r} here.")
    return InvalidField(pointer or "/", f"{sentence}.")
