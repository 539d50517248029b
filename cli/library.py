"""The operator's own documents: their sections, kept by the digest of each file so that only what changed is read.

`DATA_DIR/library.db` is written file by file, so that an interrupted build goes on where it was.
`DATA_DIR/knowledge.db` is the index that the bot opens: what ships, and these sections.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from cli.extract import KINDS, Unreadable, extracted
from wordup import documents, index
from wordup.documents import Section
from wordup.errors import ConfigurationError
from wordup.retrieval import CHECKOUT, LIBRARY

_SCHEMA = """
CREATE TABLE IF NOT EXISTS document (
    folder TEXT, path TEXT, digest TEXT, sections BLOB, why TEXT, PRIMARY KEY (folder, path)
) WITHOUT ROWID
"""
_PUT = "INSERT OR REPLACE INTO document VALUES (?, ?, ?, ?, ?)"


class Refused(msgspec.Struct, frozen=True):
    file: str
    why: str


class Added(msgspec.Struct, frozen=True, kw_only=True):
    added: int
    unchanged: int
    removed: int
    passages: int
    refused: list[Refused]


class Library:
    def __init__(self, store: sqlite3.Connection, data_dir: Path) -> None:
        self._store = store
        self._data_dir = data_dir

    def add(self, folders: Iterable[Path], progress: Callable[[int, int], object]) -> Added:
        """Brings the library to what the folders hold now, and the index to the library. Folders of earlier builds
        stay as they were."""
        files = [(folder.resolve(), path) for folder in folders for path in sorted(_readable(folder.resolve()))]
        added = unchanged = removed = 0
        for done, (folder, path) in enumerate(files):
            progress(done, len(files))
            if self._read(folder, path):
                added += 1
            else:
                unchanged += 1
        progress(len(files), len(files))
        kept = {(str(folder), path.relative_to(folder).as_posix()) for folder, path in files}
        for folder in {str(folder.resolve()) for folder in folders}:
            for (path,) in self._store.execute("SELECT path FROM document WHERE folder = ?", (folder,)).fetchall():
                if (folder, path) not in kept:
                    self._store.execute("DELETE FROM document WHERE (folder, path) = (?, ?)", (folder, path))
                    removed += 1
        self._index()
        (passages,) = self._store.execute("SELECT total(json_array_length(sections)) FROM document").fetchone()
        refused = self._store.execute("SELECT folder || '/' || path, why FROM document WHERE why <> '' ORDER BY 1")
        return Added(
            added=added,
            unchanged=unchanged,
            removed=removed,
            passages=int(passages),
            refused=[Refused(*row) for row in refused],
        )

    def _read(self, folder: Path, path: Path) -> bool:
        """Whether the file was new or other than before."""
        name = path.relative_to(folder).as_posix()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.stat().st_size < 2**28 else "too large"
        known = self._store.execute(
            "SELECT digest FROM document WHERE (folder, path) = (?, ?)", (str(folder), name)
        ).fetchone()
        if known == (digest,):
            return False
        sections, why = list[Section](), ""
        try:
            sections = list(
                documents.sections(f"{folder.name}/{path.relative_to(folder).with_suffix('')}", extracted(path))
            )
        except Unreadable as error:
            why = str(error)
        except ConfigurationError as error:
            why = error.sentence
        self._store.execute(_PUT, (str(folder), name, digest, msgspec.json.encode(sections).decode(), why))
        return True

    def _index(self) -> None:
        rows = self._store.execute("SELECT digest, sections FROM document ORDER BY folder, path").fetchall()
        digest = hashlib.sha256("".join(row[0] for row in rows).encode()).hexdigest()
        sections = (section for row in rows for section in msgspec.json.decode(row[1], type=list[Section]))
        index.build(CHECKOUT / "knowledge", self._data_dir / LIBRARY, more=sections, extra=digest)


@contextmanager
def opened(data_dir: Path) -> Generator[Library]:
    data_dir.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(data_dir / "library.db", isolation_level=None)) as store:
        store.execute(_SCHEMA)
        yield Library(store, data_dir)


def _readable(folder: Path) -> Iterator[Path]:
    """The files of a folder that can be read; what a link leads to outside of it is none of them."""
    for path in folder.rglob("*"):
        if path.suffix.lower() in KINDS and path.is_file() and path.resolve().is_relative_to(folder):
            yield path
