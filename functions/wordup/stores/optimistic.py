"""Writes for a database that can only ask "is this row still the one I read": read, decide here, commit if so.

The port's other conditions (ceilings, rows that expired but are still there) are decided in `changes`; the database
then refuses the commit if any row that the decision rests on has changed, and all of it is done again.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from wordup.errors import CeilingReached, ConditionFailed
from wordup.stores.base import Add, Delete, Operation, Put
from wordup.stores.retry import Again, Retry

# Of n writers of one row all but one lose each round, so a race needs more rounds than throttling does.
RACE = Retry(attempts=60, base_seconds=0.01, cap_seconds=0.4)


class Lost(Exception):
    """A row changed between the read and the commit; nothing was written."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What the database holds under a key, expired or not. `tag` is what it compares at the commit."""

    tag: Any
    version: str
    counts: Mapping[str, int]
    expires_at: int | None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with one row. `guarded`: only while it is still `held` (None: while there is none).

    `data` None leaves the document alone, and is only asked for where a row is held.
    """

    sk: str
    held: Held | None
    guarded: bool
    delete: bool = False
    data: Mapping[str, Any] | None = None
    counts: Mapping[str, int] = {}
    expires_at: int | None = None


async def write(
    operations: Sequence[Operation],
    now: int,
    *,
    read: Callable[[list[str]], Awaitable[Mapping[str, Held]]],
    commit: Callable[[list[Change], str], Awaitable[None]],
    blind: Callable[[Operation], bool],
) -> Mapping[str, int]:
    """All or nothing; gives the counts of the last row.

    `read` gives what is held under the keys. `commit` applies changes under a new version, or raises Lost. `blind`
    tells the operations that the database does without a read. Raises ConditionFailed, CeilingReached,
    StoreUnavailable where the race is never won, and what the two calls raise.
    """
    version = secrets.token_urlsafe(6)
    sks = [operation.sk for operation in operations if not blind(operation)]

    async def attempt() -> Mapping[str, int]:
        nonlocal sks
        held: Mapping[str, Held] = await read(sks) if sks else {}
        # A commit whose answer was lost did happen: repeated, it meets its own version.
        if any(row.version == version for row in held.values()):
            return held[operations[-1].sk].counts if operations[-1].sk in held else {}
        wanted = changes(operations, held, now, blind)
        try:
            if wanted:
                await commit(wanted, version)
        except Lost as lost:
            sks = [operation.sk for operation in operations]
            raise Again from lost
        return wanted[-1].counts if wanted else {}

    return await RACE.run(attempt)


def changes(
    operations: Iterable[Operation], held: Mapping[str, Held], now: int, blind: Callable[[Operation], bool]
) -> list[Change]:
    """What the operations come to, in their order. Raises ConditionFailed, CeilingReached for the first that fails."""
    decided = (
        _change(operation, held.get(operation.sk), now, guarded=not blind(operation)) for operation in operations
    )
    return [change for change in decided if change]


def lives(expires_at: int | None, now: int) -> bool:
    return expires_at is None or expires_at > now


def _change(operation: Operation, held: Held | None, now: int, *, guarded: bool) -> Change | None:
    row = held if held and lives(held.expires_at, now) else None
    match operation:
        case Put():
            if (operation.if_absent and row) or _differs(row, operation.if_version):
                raise ConditionFailed(operation.sk)
            return Change(
                sk=operation.sk,
                held=held,
                guarded=guarded,
                data=operation.data,
                counts=operation.counts,
                expires_at=operation.expires_at,
            )
        case Delete():
            if (operation.must_exist and not row) or _differs(row, operation.if_version):
                raise ConditionFailed(operation.sk)
            return Change(sk=operation.sk, held=held, guarded=guarded, delete=True) if held or not guarded else None
        case Add():
            if operation.must_exist and not row:
                raise ConditionFailed(operation.sk)
            return Change(
                sk=operation.sk,
                held=held,
                guarded=guarded,
                data=None if row else {},
                counts=_sum(operation, row.counts if row else {}),
                expires_at=operation.expires_at if row is None or row.expires_at is None else row.expires_at,
            )


def _sum(operation: Add, before: Mapping[str, int]) -> dict[str, int]:
    counts = dict(before)
    for field, delta in operation.counts.items():
        counts[field] = counts.get(field, 0) + delta
        if delta > 0 and counts[field] > operation.ceilings.get(field, counts[field]):
            raise CeilingReached(operation.sk, field)
    return counts


def _differs(row: Held | None, version: str | None) -> bool:
    return version is not None and (row is None or row.version != version)
