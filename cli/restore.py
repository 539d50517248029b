"""The rows of an archive into a store: every row that is not there yet, so that it can be repeated at any time.

What the store knows better stays: a person who was erased since, an access key that was revoked since.
"""

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from cli.archive import Line, Told, lines
from wordup import keys
from wordup.auth import named
from wordup.errors import ConditionFailed, Conflict, RowTooLarge, WordUpError
from wordup.stores.base import MAX_OPERATIONS, Put, Store

# Every database takes this much in one write, whatever it makes of the text.
MAX_WRITE_BYTES = 512 * 1024
WRITES_AT_ONCE = 8
ATTEMPTS = 5


class Imported(msgspec.Struct, kw_only=True):
    """Each row of the file counts once beside `rows`. `there`: already, with this content; `kept`: already, with
    another one, which stayed; `expired`: since the export; `erased`: of a person who was erased; `too_large`: more than
    this database takes in one row, by its keys."""

    rows: int = 0
    written: int = 0
    there: int = 0
    kept: int = 0
    expired: int = 0
    erased: int = 0
    too_large: list[str] = []


class Restore:
    """Into one store. `now` in seconds since the epoch. `replace`: a row that is there with another content becomes the
    archive's."""

    def __init__(self, store: Store, *, now: float, replace: bool = False) -> None:
        self._store = store
        self._now = now
        self._replace = replace
        self._erased: dict[str, bool] = {}  # by partition
        self._done = Imported()

    async def run(self, path: Path, told: Told) -> Imported:
        """An archive that `archive.verified` took. Raises BrokenArchive, StoreUnavailable, Conflict."""
        # Erasing deletes row by row: beside its tombstone an archive may have the rest of a person who asked for it.
        self._erased = {line.pk: True for line in lines(path) if line.sk == keys.ERASED and self._lives(line)}
        for batches in itertools.batched(_batches(lines(path)), WRITES_AT_ONCE, strict=False):
            try:
                async with asyncio.TaskGroup() as group:
                    for batch in batches:
                        group.create_task(self._take(batch))
            except* WordUpError as errors:
                raise errors.exceptions[0] from None
            told(self._done.rows)
        return self._done

    async def _take(self, batch: list[Line]) -> None:
        living = [line for line in batch if self._lives(line)]
        allowed = [line for line in living if not await self._is_erased(line)]
        self._done.rows += len(batch)
        self._done.expired += len(batch) - len(living)
        self._done.erased += len(living) - len(allowed)
        if self._replace:
            allowed = [line for line in allowed if not await self._was_revoked(line)]
        await self._write(allowed)

    async def _write(self, wanted: list[Line]) -> None:
        """Rows of one partition, in one write where they fit into one."""
        for _ in range(ATTEMPTS):
            if not wanted:
                return
            try:
                await self._store.write(wanted[0].pk, [self._put(line) for line in wanted])
                self._done.written += len(wanted)
                return
            except ConditionFailed:
                wanted = [line for line in wanted if not await self._is_there(line)]
            except RowTooLarge:
                if len(wanted) == 1:
                    self._done.too_large.append(f"{wanted[0].pk} {wanted[0].sk}")
                    return
                for line in wanted:
                    await self._write([line])
                return
        raise Conflict("The rows change faster than they are imported.", mend="Import again when fewer people ask.")

    def _put(self, line: Line) -> Put:
        return Put(
            sk=line.sk,
            data=line.data,
            counts=line.counts,
            expires_at=line.expires_at,
            if_absent=not self._replace,
        )

    def _lives(self, line: Line) -> bool:
        return line.expires_at is None or line.expires_at > self._now

    async def _is_there(self, line: Line) -> bool:
        row = await self._store.get(line.pk, line.sk)
        if row is None:
            return False
        if (row.data, row.counts, row.expires_at) == (line.data, line.counts, line.expires_at):
            self._done.there += 1
        else:
            self._done.kept += 1
        return True

    async def _is_erased(self, line: Line) -> bool:
        partition = named(line.data["user"]).pk if line.sk == keys.KEY and "user" in line.data else line.pk
        if partition not in self._erased:
            self._erased[partition] = await self._store.get(partition, keys.ERASED) is not None
        return self._erased[partition]

    async def _was_revoked(self, line: Line) -> bool:
        row = await self._store.get(line.pk, line.sk) if line.sk == keys.KEY else None
        if row is None or row.data.get("revoked") == line.data.get("revoked"):
            return False
        kept = bool(row.data.get("revoked"))
        self._done.kept += kept
        return kept


def _batches(found: Iterable[Line]) -> Iterator[list[Line]]:
    """Neighbours of one partition, as many as go into one write."""
    batch: list[Line] = []
    size = 0
    for line in found:
        length = len(msgspec.json.encode(line))
        if batch and (line.pk != batch[0].pk or len(batch) == MAX_OPERATIONS or size + length > MAX_WRITE_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += length
    if batch:
        yield batch
