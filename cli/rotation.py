"""Replaces the key that signs sessions without ending one: publish, wait until everyone knows it, sign.

What is done stands in the secret itself, so a rotation that was cut short goes on where it was.
"""

import time
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from infra.targets import Report
from wordup import keys
from wordup.errors import Conflict, SecretUnavailable
from wordup.keyring import Ring, new_ring

LOOK_SECONDS = 5.0


class Kept(Protocol):
    """One secret's text, where it is kept."""

    def read(self) -> str: ...

    def write(self, text: str) -> None: ...


class Rotated(msgspec.Struct, frozen=True, kw_only=True):
    """`kid` is the new key's id: it signs now, or after `signs_after`. `removed` are ids that verify no more."""

    kid: str
    state: Literal["published", "signing"]
    signs_after: str
    removed: list[str]


def rotate(
    kept: Kept,
    report: Report,
    *,
    wait: bool,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Rotated:
    """Without `wait` it only publishes; the next call, when the time has come, signs. Raises SecretUnavailable,
    Conflict, and what `kept` does."""
    ring, removed = _ring(kept), list[str]()
    if ring.upcoming is None:
        report.step("Publishing a new key")
        before, ring = ring, ring.published(clock())
        removed = sorted(before.keys.keys() - ring.keys.keys())
        kept.write(_text(ring))
    assert ring.upcoming is not None
    done = Rotated(kid=ring.upcoming, state="published", signs_after=keys.rfc3339(ring.signs_at()), removed=removed)
    if not wait and clock() < ring.signs_at():
        return done
    report.step("Waiting until every instance knows it")
    while (left := ring.signs_at() - clock()) > 0:
        report.detail(f"{left:.0f} s")
        sleep(min(left, LOOK_SECONDS))
    report.step("Signing with it")
    latest = _ring(kept)
    if latest.upcoming != ring.upcoming:
        raise Conflict("Somebody else rotates the keys at the same time.", mend="Leave it to them, or run it again.")
    kept.write(_text(latest.activated(clock())))
    return msgspec.structs.replace(done, state="signing")


def end_sessions(kept: Kept, report: Report) -> Rotated:
    """New keys alone: after the five minutes of the instances' caches no session of before is taken."""
    report.step("Replacing all keys")
    old, new = _ring(kept), msgspec.json.decode(new_ring(), type=Ring)
    kept.write(_text(new))
    return Rotated(kid=new.active, state="signing", signs_after=keys.rfc3339(time.time()), removed=sorted(old.keys))


def _ring(kept: Kept) -> Ring:
    try:
        return msgspec.json.decode(kept.read(), type=Ring)
    except msgspec.DecodeError as error:
        raise SecretUnavailable(
            "There are no signing keys yet, or they are no key ring.", mend="`wordup deploy` makes the first ones."
        ) from error


def _text(ring: Ring) -> str:
    return msgspec.json.encode(ring).decode()
