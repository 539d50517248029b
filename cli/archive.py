"""A store's rows as one file that any other store takes: gzip of JSON lines, the first of them about the rest.

The header stands in front so that a reader knows what to expect, and is written last, when it is known: gzip's members
follow one another in a file. A file that has no header, or whose rows are not the ones that the header counted, is
no archive: nothing is read from a half of one.
"""

import contextlib
import gzip
import hashlib
import itertools
import os
import shutil
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from wordup import keys
from wordup.errors import WordUpError
from wordup.stores.base import SCHEMA_VERSION, Row, Store

SCAN_PAGE = 500
# A row is at most what a database takes (Firestore: 1 MiB), and JSON makes six bytes of a control character.
MAX_LINE_BYTES = 64 * 1024 * 1024
MEBIBYTE = 1024 * 1024

Key = Annotated[str, Meta(pattern=r"^[!-~ ]{1,512}$")]
Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Told = Callable[[int], None]  # how many rows are done


class BrokenArchive(WordUpError):
    code = "broken_archive"
    mend = "Export again, or take an older file; nothing was imported from this one."


class ArchiveNotWritten(WordUpError):
    code = "archive_not_written"
    mend = "Name another file: an export never takes the place of one."


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line. `sha256` is of all the other lines, their ends included; `kinds` counts them by what they are."""

    format: Literal["wordup-data"] = "wordup-data"
    format_version: Literal[1] = 1
    schema_version: int = SCHEMA_VERSION
    exported: str
    rows: int
    kinds: dict[str, int]
    sha256: str


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A row, but for its version, which is its store's own."""

    pk: Key
    sk: Key
    data: dict[str, Any] = {}
    counts: dict[str, Integer] = {}
    expires_at: Annotated[int, Meta(ge=0, le=253_402_300_799)] | None = None
    schema_version: int

    @property
    def kind(self) -> str:
        """`u:turn`, `u:conv`, `key:key`...: what the partition and the row begin with."""
        return f"{self.pk.partition(':')[0]}:{self.sk.partition(':')[0]}"


_header = msgspec.json.Decoder(Header)
_line = msgspec.json.Decoder(Line)


async def write(store: Store, path: Path, *, now: float, told: Told) -> Header:
    """Everything that lives in the store. Until it is whole it stands beside `path`, with `.partial` behind the name,
    readable by its owner alone. Raises ArchiveNotWritten, StoreUnavailable."""
    with _drafts(path) as (rows, whole):
        with gzip.GzipFile(fileobj=rows, mode="wb", mtime=0) as texts:
            header = await _rows(store, texts, now, told)
        _join(header, rows, whole, path)
    return header


@contextlib.contextmanager
def _drafts(path: Path) -> Generator[tuple[IO[bytes], IO[bytes]]]:
    """Two files that are gone at the end: for the rows, and for the whole archive."""
    names = [path.with_name(f"{path.name}.{part}") for part in ("rows.partial", "partial")]
    try:
        if path.exists():
            raise FileExistsError
        with _created(names[0]) as rows, _created(names[1]) as whole:
            yield rows, whole
    except FileExistsError:
        raise ArchiveNotWritten(f"{path} is there already.") from None
    except OSError as error:
        raise ArchiveNotWritten(
            f"{path} cannot be written: {error.strerror}.", mend="Name a file that you may write, where there is room."
        ) from error
    finally:
        for name in names:
            name.unlink(missing_ok=True)


def _created(path: Path) -> IO[bytes]:
    return open(path, "w+b", opener=lambda name, flags: os.open(name, flags, 0o600))


def _join(header: Header, rows: IO[bytes], whole: IO[bytes], path: Path) -> None:
    with gzip.GzipFile(fileobj=whole, mode="wb", mtime=0) as first:
        first.write(msgspec.json.encode(header) + b"\n")
    rows.seek(0)
    shutil.copyfileobj(rows, whole, MEBIBYTE)
    whole.flush()
    os.fsync(whole.fileno())
    os.link(whole.name, path)  # unlike a rename it never replaces what somebody else put there meanwhile


async def _rows(store: Store, texts: gzip.GzipFile, now: float, told: Told) -> Header:
    digest, kinds = hashlib.sha256(), Counter[str]()
    async for row in _scanned(store):
        line = Line(
            pk=row.pk,
            sk=row.sk,
            data=row.data,
            counts=row.counts,
            expires_at=row.expires_at,
            schema_version=row.schema_version,
        )
        text = msgspec.json.encode(line) + b"\n"
        digest.update(text)
        texts.write(text)
        kinds[line.kind] += 1
        told(kinds.total())
    return Header(
        exported=keys.rfc3339(now), rows=kinds.total(), kinds=dict(sorted(kinds.items())), sha256=digest.hexdigest()
    )


async def _scanned(store: Store) -> AsyncIterator[Row]:
    cursor = None
    while True:
        page = await store.scan("", limit=SCAN_PAGE, cursor=cursor)
        for row in page.rows:
            yield row
        if (cursor := page.cursor) is None:
            return


def verified(path: Path) -> Header:
    """The header, once every row is there as it was written. Raises BrokenArchive."""
    digest, found = hashlib.sha256(), 0
    with _opened(path) as (header, lines):
        for text in lines:
            digest.update(text)
            _decoded(text)
            found += 1
    if (found, digest.hexdigest()) != (header.rows, header.sha256):
        raise BrokenArchive(f"{path} is not whole: its rows are not those that it counted.")
    return header


def lines(path: Path) -> Iterator[Line]:
    """The rows of a verified archive. Raises BrokenArchive."""
    with _opened(path) as (_, texts):
        yield from map(_decoded, texts)


@contextlib.contextmanager
def _opened(path: Path) -> Generator[tuple[Header, Iterator[bytes]]]:
    try:
        with gzip.open(path, "rb") as file:
            texts = itertools.takewhile(bool, iter(lambda: file.readline(MAX_LINE_BYTES), None))
            header = _header.decode(next(texts, b""))
            _check_schema(header.schema_version)
            yield header, texts
    except (EOFError, gzip.BadGzipFile, zlib.error, msgspec.DecodeError) as error:
        raise BrokenArchive(f"{path} is no archive of `wordup data export`, or not a whole one.") from error
    except OSError as error:
        raise BrokenArchive(
            f"{path} cannot be read: {error.strerror}.", mend="Name a file that you may read."
        ) from error


def _decoded(text: bytes) -> Line:
    line = _line.decode(text)
    _check_schema(line.schema_version)
    return line


def _check_schema(version: int) -> None:
    """There has been one version of the rows. The next one's importer turns the rows of this one into its own."""
    if version != SCHEMA_VERSION:
        raise BrokenArchive(
            f"The archive has rows of schema version {version}, and this program writes {SCHEMA_VERSION}.",
            mend="Import it with the program of the version that exported it or a later one.",
        )
