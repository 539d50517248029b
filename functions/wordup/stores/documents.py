"""A row's document as one value of DynamoDB, Firestore or Table Storage: readable JSON while it is short, MessagePack
bytes beyond.

JSON doubles every quote and makes six bytes of a control character, and Table Storage counts UTF-16: only bytes
that are about as long as the text keep the port's promise of 256 KiB of any text.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

# As text it then fits one property of Table Storage, 32 K UTF-16 units, whatever its characters.
MAX_TEXT_BYTES = 32_000


def packed(data: Mapping[str, Any]) -> str | bytes:
    text = msgspec.json.encode(data)
    return text.decode() if len(text) <= MAX_TEXT_BYTES else msgspec.msgpack.encode(data)


def unpacked(value: str | bytes) -> dict[str, Any]:
    return msgspec.json.decode(value) if isinstance(value, str) else msgspec.msgpack.decode(value)
