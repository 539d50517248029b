"""The keys of every row, in one place. See docs/data-model.md for the table.

Hashes are base64url without padding: 43 characters where hexadecimal takes 64, written several times a turn.
"""

import base64
import datetime
import hashlib
import time

from wordup.ids import inverted

USERS = "u:"
TURNS = "turn:"
ERASED = "erased"
KEY = "key"
DAY_SECONDS = 86_400
# A month of daily counters is still there on its last day, whatever the month's length.
DAY_COUNTER_SECONDS = 40 * DAY_SECONDS


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def user(issuer: str, subject: str) -> str:
    """A user's partition. Hashed, so that no id meets a database's key rules and none is readable in the table."""
    return USERS + digest(f"{issuer}|{subject}")


def access_key(key: str) -> str:
    """The partition of an access key's only row."""
    return "key:" + digest(key)


def address(keyed_hash: bytes) -> str:
    """The partition of a network address. The hash has a key, because all addresses can be tried."""
    return "ip:" + base64.urlsafe_b64encode(keyed_hash).rstrip(b"=").decode()


def budget(shard: int) -> str:
    """A partition of the deployment's budget."""
    return f"budget:{shard}"


def conversation(conversation_id: str) -> str:
    return f"conv:{conversation_id}"


def turns(conversation_id: str) -> str:
    """The prefix of a conversation's turns, newest first."""
    return f"{TURNS}{conversation_id}:"


def turn(conversation_id: str, turn_id: str) -> str:
    return turns(conversation_id) + inverted(turn_id)


RECENT = "recent:"


def recent(moment: str, conversation_id: str) -> str:
    """`moment` is the first ten characters of the last turn's ULID: its milliseconds."""
    return f"{RECENT}{inverted(moment)}:{conversation_id}"


def idempotency(key: str) -> str:
    return "idem:" + digest(key)


def hold(turn_id: str) -> str:
    return f"hold:{turn_id}"


HOLDS = "hold:"
DAYS = "count:d:"


def minute_counter(now: float) -> str:
    return f"count:m:{int(now // 60)}"


def day_counter(day: str) -> str:
    return DAYS + day


def day(now: float) -> str:
    """The UTC day of a moment, `2026-11-21`."""
    return time.strftime("%Y-%m-%d", time.gmtime(now))


def seconds_to_midnight(now: float) -> int:
    return DAY_SECONDS - int(now) % DAY_SECONDS


def rfc3339(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
