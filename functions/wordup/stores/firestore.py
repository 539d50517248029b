"""Firestore: one collection `rows`, found by one ordered field `key`, which is `<pk>#<sk>`.

A partition, and what a prefix of partitions holds, is thus a range of one field in one collection: no composite
index, no collection group. All other fields are to be left out of the indexes: `d` the document, `c` the counts as
JSON, `v` version, `schema_version`, and `expires_at`, a timestamp for the TTL policy.

Counters go through the update-time precondition, since a read-write transaction holds a lock on its documents and
ten writers of one counter wait for each other.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from google.api_core import exceptions as theirs
from google.auth.exceptions import GoogleAuthError
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1.base_query import FieldFilter

from wordup.errors import RowTooLarge, StoreUnavailable
from wordup.stores.base import SCHEMA_VERSION, Add, Delete, Operation, Page, Put, Row, check
from wordup.stores.documents import packed, unpacked
from wordup.stores.optimistic import Change, Held, Lost, lives, write
from wordup.stores.retry import Again, Retry

CALL_SECONDS = 5.0
# https://firebase.google.com/docs/firestore/quotas: 1 MiB a document, names and keys included.
MAX_DATA_BYTES = 1024 * 1024 - 16 * 1024
# Firestore takes 10 MiB a commit; its emulators, like the other databases, a little more than this.
MAX_COMMIT_BYTES = 4_000_000
MAX_PAGE = 1000
_ABOVE = "\x7f"  # every character of a key is below it


class FirestoreStore:
    """`project` empty is the credentials' own. `clock` gives seconds since the epoch."""

    def __init__(
        self, database: str, project: str = "", *, clock: Callable[[], float] = time.time, retry: Retry | None = None
    ) -> None:
        self._database = database
        self._project = project
        self._clock = clock
        self._retry = retry or Retry()
        self._client: Any = None

    async def get(self, pk: str, sk: str) -> Row | None:
        for snapshot in await self._snapshots(pk, [sk]):
            row = _row(snapshot)
            return row if lives(row.expires_at, self._now()) else None
        return None

    async def write(self, pk: str, operations: list[Operation]) -> None:
        check(operations)
        await self._write(pk, operations)

    async def add(self, pk: str, operation: Add) -> dict[str, int]:
        return dict(await self._write(pk, [operation]))

    async def query(self, pk: str, prefix: str, *, limit: int, cursor: str | None = None) -> Page:
        return await self._page(f"{pk}#{prefix}", limit, f"{pk}#{cursor}" if cursor else None, lambda row: row.sk)

    async def scan(self, prefix: str, *, limit: int, cursor: str | None = None) -> Page:
        return await self._page(prefix, limit, cursor, lambda row: f"{row.pk}#{row.sk}")

    async def purge(self, *, limit: int) -> int:  # noqa: ARG002 - the TTL policy removes them
        return 0

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            # Its own close() is for the HTTP connection that it does not have, and leaves the channel open.
            await client._firestore_api.transport.close()

    def _now(self) -> int:
        return int(self._clock())

    def _connected(self) -> Any:
        if self._client is None:
            with translated(READ_ERRORS):
                self._client = AsyncClient(project=self._project or None, database=self._database)
        return self._client

    def _document(self, pk: str, sk: str) -> Any:
        # Ids that begin and end with two underscores are Firestore's own, which no id with this end is.
        return self._connected().collection("rows").document(f"{pk}#{sk}#")

    async def _page(self, prefix: str, limit: int, after: str | None, cursor: Callable[[Row], str]) -> Page:
        rows: list[Row] = []
        size = limit + 1  # one more tells whether anything follows
        while len(rows) <= limit:
            size = min(size, MAX_PAGE)
            low = FieldFilter("key", ">=", prefix) if after is None else FieldFilter("key", ">", after)
            wanted = (
                self._connected()
                .collection("rows")
                .where(filter=low)
                .where(filter=FieldFilter("key", "<", prefix + _ABOVE))
            )
            found = await self._called(wanted.order_by("key").limit(size).get)
            rows += [row for snapshot in found if lives((row := _row(snapshot)).expires_at, self._now())]
            if len(found) < size:
                break
            after = found[-1].get("key")
            size *= 2  # thousands of expired rows may follow
        return Page(rows[:limit], cursor(rows[limit - 1]) if len(rows) > limit else None)

    async def _write(self, pk: str, operations: list[Operation]) -> Mapping[str, int]:
        async def read(sks: list[str]) -> dict[str, Held]:
            found = await self._snapshots(pk, sks, ["key", "c", "v", "expires_at"])
            return dict(map(_held, found))

        async def commit(wanted: list[Change], version: str) -> None:
            bodies = [_body(pk, change, version) for change in wanted]
            if sum(len(body.get("d", b"")) for body in bodies) > MAX_COMMIT_BYTES:
                raise RowTooLarge("The rows are together larger than the database takes in one write.")

            async def send(**options: Any) -> None:
                batch = self._connected().batch()
                for change, body in zip(wanted, bodies, strict=True):
                    self._stage(batch, self._document(pk, change.sk), change, body)
                await batch.commit(**options)

            await self._called(send, COMMIT_ERRORS)

        return await write(operations, self._now(), read=read, commit=commit, blind=_is_blind)

    def _stage(self, batch: Any, document: Any, change: Change, body: dict[str, Any]) -> None:
        unchanged = change.guarded and change.held and self._client.write_option(last_update_time=change.held.tag)
        if change.delete:
            batch.delete(document, option=unchanged or None)
        elif unchanged:
            batch.update(document, body, option=unchanged)
        elif change.guarded:
            batch.create(document, body)
        else:
            batch.set(document, body)

    async def _snapshots(self, pk: str, sks: list[str], fields: list[str] | None = None) -> list[Any]:
        documents = [self._document(pk, sk) for sk in sks]

        async def get(**options: Any) -> list[Any]:
            found = self._connected().get_all(documents, field_paths=fields, **options)
            return [snapshot async for snapshot in found if snapshot.exists]

        return await self._called(get)

    async def _called(self, call: Callable[..., Any], errors: "_Errors | None" = None) -> Any:
        async def attempt() -> Any:
            with translated(errors or READ_ERRORS):
                return await call(retry=None, timeout=CALL_SECONDS)

        return await self._retry.run(attempt)


def _is_blind(operation: Operation) -> bool:
    """Firestore sets and deletes whether or not there is a document."""
    match operation:
        case Put():
            return not operation.if_absent and operation.if_version is None
        case Delete():
            return not operation.must_exist and operation.if_version is None
        case Add():
            return False


def _body(pk: str, change: Change, version: str) -> dict[str, Any]:
    """The same fields every time, since an update leaves alone what it does not name."""
    if change.delete:
        return {}
    expires_at = None if change.expires_at is None else datetime.fromtimestamp(change.expires_at, UTC)
    body: dict[str, Any] = {"c": msgspec.json.encode(change.counts).decode(), "v": version, "expires_at": expires_at}
    if change.data is not None:
        body |= {"key": f"{pk}#{change.sk}", "d": packed(change.data), "schema_version": SCHEMA_VERSION}
        if len(body["d"]) > MAX_DATA_BYTES:
            raise RowTooLarge
    return body


def _row(snapshot: Any) -> Row:
    fields = snapshot.to_dict()
    pk, _, sk = fields["key"].partition("#")
    return Row(
        pk=pk,
        sk=sk,
        data=unpacked(fields["d"]),
        counts=msgspec.json.decode(fields["c"]),
        expires_at=_seconds(fields["expires_at"]),
        version=fields["v"],
        schema_version=fields["schema_version"],
    )


def _held(snapshot: Any) -> tuple[str, Held]:
    fields = snapshot.to_dict()
    held = Held(
        tag=snapshot.update_time,
        version=fields["v"],
        counts=msgspec.json.decode(fields["c"]),
        expires_at=_seconds(fields["expires_at"]),
    )
    return fields["key"].partition("#")[2], held


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


_Errors = Mapping[type[Exception], Callable[[Exception], Exception]]


@contextlib.contextmanager
def translated(errors: _Errors) -> Generator[None]:
    """Google's errors -> ours, by one of the tables below."""
    try:
        yield
    except (theirs.GoogleAPIError, GoogleAuthError, OSError) as error:
        ours = next(errors[kind] for kind in type(error).__mro__ if kind in errors)
        raise ours(error) from error


def _again(_: Exception) -> Exception:
    return Again()


def _lost(_: Exception) -> Exception:
    return Lost()


def _missing(_: Exception) -> Exception:
    return StoreUnavailable("The database is not there.", mend="The operator deploys it, or mends WORDUP_TABLE.")


def _refused(error: Exception) -> Exception:
    return StoreUnavailable(
        f"The database refused the request: {type(error).__name__}.",
        mend="The operator checks the function's rights on the database; the log has the database's own words.",
    )


# Google's errors -> ours, by the nearest class.
READ_ERRORS: _Errors = {
    theirs.Aborted: _again,
    theirs.Cancelled: _again,
    theirs.GatewayTimeout: _again,
    theirs.InternalServerError: _again,
    theirs.ServiceUnavailable: _again,
    theirs.TooManyRequests: _again,
    theirs.Unknown: _again,
    theirs.NotFound: _missing,
    theirs.GoogleAPIError: _refused,
    GoogleAuthError: _refused,
    OSError: _refused,  # the client's way to say that it finds no project
}
COMMIT_ERRORS: _Errors = {
    **READ_ERRORS,
    theirs.Aborted: _lost,
    theirs.AlreadyExists: _lost,
    theirs.FailedPrecondition: _lost,
    theirs.NotFound: _lost,
}
