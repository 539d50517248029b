"""Firestore's own ways: what a document holds, and the ids that it keeps for itself."""

import os
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from unittest.mock import patch

import pytest

from infra.local import firestore
from tests.emulators import google_firestore_server, node_firestore_server
from wordup.errors import RowTooLarge
from wordup.stores.base import Put
from wordup.stores.firestore import MAX_DATA_BYTES, FirestoreStore


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Google's emulator, which knows the limits, where it is installed."""
    server = google_firestore_server if firestore.google_jar() else node_firestore_server
    with server(tmp_path_factory.mktemp("firestore")) as address:
        yield address


@pytest.fixture
async def store(address: str, tmp_path: Path) -> AsyncGenerator[FirestoreStore]:
    with patch.dict(os.environ, FIRESTORE_EMULATOR_HOST=address):
        store = FirestoreStore(tmp_path.name.replace("_", "-"), "wordup")
        yield store
        await store.close()


async def test_a_row_is_as_large_as_a_document_and_no_larger(store: FirestoreStore) -> None:
    fits = "x" * (MAX_DATA_BYTES - 100)
    pk, sk = "p" * 512, "s" * 512
    await store.write(pk, [Put(sk=sk, data={"t": fits})])
    row = await store.get(pk, sk)
    assert row is not None
    assert row.data["t"] == fits
    with pytest.raises(RowTooLarge):
        await store.write(pk, [Put(sk=sk, data={"t": "x" * MAX_DATA_BYTES})])


async def test_rows_that_are_together_too_large_are_refused_before_they_are_sent(store: FirestoreStore) -> None:
    with pytest.raises(RowTooLarge):
        await store.write("p", [Put(sk=str(number), data={"t": "x" * 500_000}) for number in range(9)])
    await store.write("p", [Put(sk=str(number), data={"t": "x" * 490_000}) for number in range(8)])
    assert len((await store.query("p", "", limit=10)).rows) == 8


async def test_keys_that_look_like_firestores_own_ids_are_only_keys(store: FirestoreStore) -> None:
    for pk, sk in [("__a", "b__"), (".", ".."), ("__", "__")]:
        await store.write(pk, [Put(sk=sk, data={"key": sk})])
        found = await store.scan(pk, limit=10)
        assert (pk, sk) in [(row.pk, row.sk) for row in found.rows]
