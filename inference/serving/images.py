"""Pictures in and out. A file is understood from its own bytes before any decoder sees it: its container must be PNG,
JPEG or WebP from the first byte to the last, so a file that is also something else (a polyglot) is refused, and its
stated size must be within the limit, so a small file cannot unfold into a huge picture.
"""

import io
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from serving.errors import InvalidImage

PNG = b"\x89PNG\r\n\x1a\n"
# JPEG markers of a frame header: SOF0..SOF15 without DHT, JPG and DAC (ITU-T T.81, table B.1).
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BROKEN = "The picture is broken, or is not a PNG, JPEG or WebP file from its first byte to its last."
# Compression that costs the GPU's callers little time: zlib level 3, and the libraries' usual lossy qualities.
_OPTIONS: dict[str, dict[str, int]] = {"png": {"compress_level": 3}, "jpeg": {"quality": 92}, "webp": {"quality": 90}}


def dimensions(data: bytes) -> tuple[str, int, int]:
    """The format, width and height in the header. Raises ValueError, IndexError or struct.error for anything else."""
    if data.startswith(PNG):
        return "PNG", *_png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG", *_jpeg(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP", *_webp(data)
    raise ValueError("unknown format")


def decode(data: bytes, *, max_pixels: int, pointer: str, mode: str = "RGB") -> Image.Image:
    """The picture, upright, in `mode`. Raises InvalidImage; nothing is decoded before its size is known to be small."""
    try:
        kind, width, height = dimensions(data)
    except (ValueError, IndexError, struct.error):
        raise InvalidImage(pointer, _BROKEN, mend="Send one plain PNG, JPEG or WebP file.") from None
    if not 0 < width * height <= max_pixels:
        raise InvalidImage(pointer, f"{width} x {height} pixels are more than the {max_pixels} that this server takes.")
    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as picture:
            if picture.size != (width, height):
                raise InvalidImage(pointer, _BROKEN)
            return ImageOps.exif_transpose(picture).convert(mode)
    # What Pillow's decoders raise on broken data (Pillow's own documentation and tests).
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        raise InvalidImage(pointer, _BROKEN, mend="Send one plain PNG, JPEG or WebP file.") from None


def encode(pixels: npt.NDArray[np.uint8], kind: str) -> bytes:
    """(height, width, 3) pixels as a file of `kind`: png, jpeg or webp."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **_OPTIONS[kind])
    return out.getvalue()


def _png(data: bytes) -> tuple[int, int]:
    at, name = len(PNG), b""
    while name != b"IEND":
        size, name = struct.unpack_from(">I4s", data, at)
        at += 12 + size
    if at != len(data) or data[12:16] != b"IHDR":
        raise ValueError("trailing bytes")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _jpeg(data: bytes) -> tuple[int, int]:
    at, size = 2, None
    while True:
        if data[at : at + 1] != b"\xff":
            raise ValueError("no marker")
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker == 0xD9:  # end of image
            if at + 2 != len(data) or size is None:
                raise ValueError("trailing bytes")
            return size
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            if marker in _SOF and size is None:
                height, width = struct.unpack_from(">HH", data, at + 5)
                size = width, height
            at += 2 + length
            if marker == 0xDA:  # entropy-coded data runs to the next marker that is neither stuffing nor a restart
                at = _after_scan(data, at)


def _after_scan(data: bytes, at: int) -> int:
    while True:
        at = data.index(b"\xff", at)
        following = data[at + 1 : at + 2]
        if not following:
            raise ValueError("cut short")
        if following[0] != 0 and not 0xD0 <= following[0] <= 0xD7:
            return at
        at += 2


def _webp(data: bytes) -> tuple[int, int]:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 != len(data):
        raise ValueError("trailing bytes")
    name = data[12:16]
    if name == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if name == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if name == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("unknown chunk")
