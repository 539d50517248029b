"""Cursors as callers see them: opaque, and good only for the list they came from."""

import base64
import binascii

from wordup.errors import InvalidField


def encode(cursor: str | None) -> str | None:
    return None if cursor is None else base64.urlsafe_b64encode(cursor.encode()).rstrip(b"=").decode()


def decode(text: str | None, prefix: str) -> str | None:
    """The store's cursor for the list under `prefix`. Raises InvalidField."""
    if not text:
        return None
    try:
        cursor = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        cursor = ""
    if not cursor.startswith(prefix) or not cursor.isprintable():
        raise InvalidField("/query/cursor", "This cursor does not belong to this list.", mend="Leave the cursor out.")
    return cursor
