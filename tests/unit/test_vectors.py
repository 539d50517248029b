"""The nearest vectors without a compiled library, and their fusion with what the words found."""

import math
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from wordup.errors import ConfigurationError
from wordup.vectors import COMPARED, FILE, SCHEMA, Meaning, Ranked, Vectors, bytes_of, signs_of

MODEL = "openai:test"


def stored(folder: Path, numbers: dict[str, list[float]], **meta: str) -> Path:
    file = folder / FILE
    with closing(sqlite3.connect(file, isolation_level=None)) as store:
        store.executescript(SCHEMA)
        for row, (passage, vector) in enumerate(numbers.items(), 1):
            values, scale = bytes_of(vector)
            store.execute("INSERT INTO vector VALUES (?, ?, ?, ?, ?)", (row, passage, b"", values, scale))
            store.execute("INSERT INTO signs VALUES (?, ?)", (row, signs_of(vector)))
        dimension = len(next(iter(numbers.values())))
        known = {"model": MODEL, "dimension": str(dimension), "floor": "0.5", "index": ""} | meta
        store.executemany("INSERT INTO meta VALUES (?, ?)", known.items())
    return file


def cosine(one: list[float], other: list[float]) -> float:
    return math.sumprod(one, other) / math.hypot(*one) / math.hypot(*other)


@pytest.mark.parametrize("dimension", [5, 384])
def test_nearest_are_those_by_the_exact_cosine(tmp_path: Path, dimension: int) -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    numbers = {f"p{n}": [chance.gauss(0, 1) for _ in range(dimension)] for n in range(COMPARED)}
    vectors = Vectors.open(stored(tmp_path, numbers), MODEL)
    for _ in range(20):
        question = [chance.gauss(0, 3) for _ in range(dimension)]
        exact = sorted(numbers, key=lambda passage: -cosine(numbers[passage], question))
        for near in vectors.nearest(question, 5):
            assert near.cosine == pytest.approx(cosine(numbers[near.passage], question), abs=0.01)
            assert near.passage in exact[:8]
    vectors.close()


def test_nearest_of_many_are_among_those_whose_signs_agree_most(tmp_path: Path) -> None:
    chance = random.Random(2)  # noqa: S311 - no secret
    numbers = {f"p{n}": [chance.gauss(0, 1) for _ in range(384)] for n in range(1_000)}
    vectors = Vectors.open(stored(tmp_path, numbers), MODEL)
    for wanted in list(numbers)[::100]:
        question = [number + chance.gauss(0, 1) for number in numbers[wanted]]
        assert vectors.nearest(question, 3)[0].passage == wanted
    vectors.close()


@pytest.mark.parametrize("meta", [{"model": "openai:other"}, {"model": ""}])
def test_vectors_of_another_model_are_none(tmp_path: Path, meta: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Vectors.open(stored(tmp_path, {"p": [1.0, 0.0]}, **meta), MODEL)
    assert "wordup knowledge build" in caught.value.mend


def test_unfinished_vectors_and_no_vectors_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=MODEL):
        Vectors.open(tmp_path / FILE, MODEL)
    file = stored(tmp_path, {"p": [1.0, 0.0]})
    with closing(sqlite3.connect(file, isolation_level=None)) as store:
        store.execute("DELETE FROM meta WHERE key = 'floor'")
    with pytest.raises(ConfigurationError, match=MODEL):
        Vectors.open(file, MODEL)
    file.write_bytes(b"no database" * 100)
    with pytest.raises(ConfigurationError, match=MODEL):
        Vectors.open(file, MODEL)


def fused(folder: Path, ranked: Ranked, question: list[float], numbers: dict[str, list[float]]) -> list[str]:
    vectors = Vectors.open(stored(folder, numbers), MODEL)
    places = list(numbers)
    found = Meaning(vectors, question).fused(
        ranked, lambda document, anchor: 100 + places.index(f"{document}#{anchor}".rstrip("#"))
    )
    vectors.close()
    assert found == sorted(found, key=lambda each: each[1])
    return [f"{document} {row}" for document, _, row in found]


NUMBERS = {"a#1": [1.0, 0.0, 0.0], "a#2": [0.9, 0.1, 0.0], "b": [0.7, 0.7, 0.0], "c": [0.1, 0.0, 1.0]}


def test_place_by_meaning_counts_beside_the_place_by_words(tmp_path: Path) -> None:
    ranked = [("d", -9.0, 1), ("c", -8.0, 2), ("a", -7.0, 3), ("a", -6.0, 4)]
    assert fused(tmp_path, ranked, [1.0, 0.0, 0.0], NUMBERS) == [
        "a 3",  # the nearest, and third by words
        "c 2",  # the third by meaning, and second by words
        "d 1",  # only the words lead there, first of all
        "a 4",  # a place by meaning counts once
        "b 102",  # only the meaning leads there
    ]


def test_without_words_only_what_is_above_the_floor_is_found(tmp_path: Path) -> None:
    assert fused(tmp_path, [], [1.0, 0.0, 0.0], NUMBERS) == ["a 100", "b 102"]


def test_passage_that_the_index_has_no_longer_is_left_out(tmp_path: Path) -> None:
    vectors = Vectors.open(stored(tmp_path, NUMBERS), MODEL)
    found = Meaning(vectors, [1.0, 0.0, 0.0]).fused([], lambda document, _: 7 if document == "b" else None)
    assert [document for document, _, _ in found] == ["b"]
    vectors.close()
