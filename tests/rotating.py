"""What a rotation of the signing keys is tested with: a caller who never stops, and five minutes that pass at once."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from tests.serving import Caller
from wordup.keyring import CACHE_SECONDS, REFETCH_SECONDS, Ring


def as_if_later(ring: str) -> str:
    """The ring as it is when the wait for its upcoming key is over."""
    found = msgspec.json.decode(ring, type=Ring)
    changed = {kid: moment - int(CACHE_SECONDS) for kid, moment in found.changed.items()}
    return msgspec.json.encode(msgspec.structs.replace(found, changed=changed)).decode()


def past_the_guard() -> None:
    """A flood of unknown keys is not looked up more often; five minutes after a publication nothing recent was."""
    time.sleep(REFETCH_SECONDS + 0.1)


def kid(caller: Caller) -> str:
    """The key that signed the caller's session."""
    return caller.http.headers["authorization"].removeprefix("Bearer ").partition(".")[0]


@contextmanager
def asking(caller: Caller, *, pause: float = 0.0) -> Iterator[list[int]]:
    """The caller asks until the block ends, with pauses of so many seconds; the statuses that they got."""
    statuses: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(pause):
            statuses.append(caller.ask("What is AWS Lambda?").status_code)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()
