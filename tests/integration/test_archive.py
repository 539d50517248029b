"""What is no whole archive, and what a store knows better than one."""

import gzip
import json
import os
import stat
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from cli import archive
from cli.restore import Imported, Restore
from tests.archives import NOW, fill, nothing, puts, rows
from tests.home import wordup
from wordup import keys
from wordup.auth import issue_key, list_keys, named, revoke_keys
from wordup.config import Settings
from wordup.erasure import Erasure
from wordup.stores.base import SCHEMA_VERSION, Put
from wordup.stores.sqlite import SQLiteStore

Mend = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "data" / "wordup.db", clock=lambda: NOW)
    yield store
    await store.close()


@pytest.fixture
async def other(tmp_path: Path) -> AsyncGenerator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "other" / "wordup.db", clock=lambda: NOW)
    yield store
    await store.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "archive.jsonl.gz"


async def export(store: SQLiteStore, file: Path) -> archive.Header:
    return await archive.write(store, file, now=NOW, told=nothing)


def unpacked(file: Path) -> list[bytes]:
    return gzip.decompress(file.read_bytes()).splitlines(keepends=True)


def put(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def beside(file: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.glob(f"{file.name[:5]}*")}


def content(file: Path) -> bytes:
    return file.read_bytes()


def cut(file: Path, left: int) -> None:
    put(file, file.read_bytes()[:left])


async def restore(store: SQLiteStore, file: Path, *, now: float = NOW, replace: bool = False) -> Imported:
    return await Restore(store, now=now, replace=replace).run(file, nothing)


async def test_archive_tells_what_is_in_it_and_is_its_owners_alone(store: SQLiteStore, file: Path) -> None:
    await fill(store, puts(30))
    await issue_key(store, "anna", "laptop", now=NOW)
    header = await export(store, file)
    first, *rest = unpacked(file)
    assert (json.loads(first)["rows"], len(rest)) == (32, 32)
    assert header.kinds == {"key:key": 1, "u:key": 1, "u:turn": 30}
    assert beside(file) == {file.name: 0o600}


async def test_export_never_takes_the_place_of_a_file(store: SQLiteStore, file: Path) -> None:
    put(file, b"somebody's")
    with pytest.raises(archive.ArchiveNotWritten):
        await export(store, file)
    assert content(file) == b"somebody's"


async def test_export_where_nobody_may_write_is_explained(store: SQLiteStore, tmp_path: Path) -> None:
    with pytest.raises(archive.ArchiveNotWritten, match="No such file or directory"):
        await export(store, tmp_path / "nowhere" / "archive")


BROKEN: dict[str, Mend] = {
    "a row is gone": lambda lines: lines[:-1],
    "a row is there twice": lambda lines: [*lines, lines[-1]],
    "a letter is another": lambda lines: [*lines[:-1], lines[-1].replace(b"plain", b"plane", 1)],
    "a row is none": lambda lines: [*lines[:-1], b'{"pk":"a"}\n'],
    "a key is none": lambda lines: [lines[0], lines[1].replace(b'"sk":"', b'"sk":"\xc3\xa4'), *lines[2:]],
    "the header is gone": lambda lines: lines[1:],
    "another program's": lambda lines: [lines[0].replace(b"wordup-data", b"dump"), *lines[1:]],
    "another format": lambda lines: [lines[0].replace(b'"format_version":1', b'"format_version":2'), *lines[1:]],
    "a later schema": lambda lines: [
        lines[0].replace(b'"schema_version":%d' % SCHEMA_VERSION, b'"schema_version":99'), *lines[1:]
    ],
    "nothing": lambda _: [],
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
async def test_broken_archive_is_refused_before_anything_is_written(
    store: SQLiteStore, file: Path, tmp_path: Path, how: str
) -> None:
    await fill(store, {"u:1": [Put(sk=f"turn:{n}", data={"a": "plain"}) for n in range(5)]})
    await export(store, file)
    put(file, gzip.compress(b"".join(BROKEN[how](unpacked(file)))))
    done = wordup(tmp_path, "data", "import", file.name, WORDUP_DATA_DIR="other")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: " in done.stderr
    assert "other" not in os.listdir(tmp_path)  # noqa: PTH208


@pytest.mark.parametrize("left", [0, 5, 100, -1])
async def test_file_that_was_cut_off_is_refused(store: SQLiteStore, file: Path, left: int) -> None:
    await fill(store, puts(30))
    await export(store, file)
    cut(file, left)
    with pytest.raises(archive.BrokenArchive):
        archive.verified(file)


@pytest.mark.parametrize("text", [b"", b"not gzip", b"\x1f\x8b", b"\x00" * 64])
def test_file_of_something_else_is_refused(file: Path, text: bytes) -> None:
    put(file, text)
    with pytest.raises(archive.BrokenArchive):
        archive.verified(file)


async def test_what_expires_on_the_way_is_left_out(store: SQLiteStore, other: SQLiteStore, file: Path) -> None:
    expiries = {"a": NOW - 1, "b": NOW + 10, "c": NOW + 1000, "d": None}
    await fill(store, {"u:1": [Put(sk=sk, expires_at=moment) for sk, moment in expiries.items()]})
    assert (await export(store, file)).rows == 3
    done = await restore(other, file, now=NOW + 10)
    assert (done.rows, done.written, done.expired) == (3, 2, 1)
    assert [row.sk for row in await rows(other)] == ["c", "d"]


async def test_person_who_was_erased_since_does_not_come_back(store: SQLiteStore, file: Path) -> None:
    for name in ("anna", "bert"):
        await issue_key(store, name, "laptop", now=NOW)
        await store.write(named(name).pk, [Put(sk="turn:a", data={"q": name})])
    await export(store, file)
    await Erasure(store, Settings(), clock=lambda: NOW).erase(named("anna"))
    done = await restore(store, file, replace=True)
    assert (done.erased, done.written) == (3, 3)
    assert [key.user for key in await list_keys(store)] == ["bert"]
    assert [row.sk for row in await rows(store) if row.pk == named("anna").pk] == [keys.ERASED]


async def test_rest_of_a_person_whose_erasure_was_running_stays_behind(
    store: SQLiteStore, other: SQLiteStore, file: Path
) -> None:
    await fill(store, {"u:1": [Put(sk=keys.ERASED, expires_at=NOW + 10), Put(sk="turn:a"), Put(sk="conv:a")]})
    await export(store, file)
    assert (await restore(other, file)).erased == 3
    assert await rows(other) == []


async def test_key_that_was_revoked_since_stays_revoked(store: SQLiteStore, file: Path) -> None:
    await issue_key(store, "anna", "laptop", now=NOW)
    await export(store, file)
    await revoke_keys(store, "anna")
    for replace in (False, True):
        assert (await restore(store, file, replace=replace)).kept == 1
        assert [key.revoked for key in await list_keys(store)] == [True]


def test_key_opens_the_home_that_it_moved_to(tmp_path: Path) -> None:
    key = wordup(tmp_path, "user", "add", "anna").stdout.strip()
    exported = wordup(tmp_path, "data", "export", "archive")
    assert exported.returncode == 0
    assert "Exporting to archive" in exported.stderr
    imported = wordup(tmp_path, "data", "import", "archive", "--json", WORDUP_DATA_DIR="other")
    assert json.loads(imported.stdout)["written"] == 2
    listed = wordup(tmp_path, "user", "list", "--json", WORDUP_DATA_DIR="other")
    assert [each["user"] for each in json.loads(listed.stdout)] == ["anna"]
    assert key.encode() not in gzip.decompress((tmp_path / "archive").read_bytes())


def test_secrets_do_not_travel(tmp_path: Path) -> None:
    assert wordup(tmp_path, "user", "add", "anna").returncode == 0
    (tmp_path / "data" / "signing.json").write_text('{"active":"k","keys":{"k":"c2VjcmV0LXNpZ25pbmcta2V5"}}')
    assert wordup(tmp_path, "data", "export", "archive", OPENAI_API_KEY="sk-not-to-travel").returncode == 0
    text = gzip.decompress((tmp_path / "archive").read_bytes())
    assert b"c2VjcmV0" not in text
    assert b"sk-not-to-travel" not in text
