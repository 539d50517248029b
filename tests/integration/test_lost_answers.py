"""Writes to the databases that only compare: what happened is not done again when its answer never arrived."""

import os
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from unittest.mock import patch

import pytest

from infra.local import azurite
from tests.emulators import azurite_server, create_azure_table, node_firestore_server
from tests.grpc_proxy import GrpcProxy
from tests.proxy import Proxy
from wordup.stores.azure_tables import AzureTablesStore
from wordup.stores.base import Add, Delete, Put, Store
from wordup.stores.firestore import FirestoreStore

Lose = Callable[[int], None]
Opened = tuple[Store, Lose]


@pytest.fixture(scope="module")
def firestore_address(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with node_firestore_server(tmp_path_factory.mktemp("firestore")) as address:
        yield address


@pytest.fixture(scope="module")
def azurite_url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with azurite_server(tmp_path_factory.mktemp("azurite")) as url:
        yield url


@pytest.fixture
async def firestore(firestore_address: str, tmp_path: Path) -> AsyncGenerator[Opened]:
    with GrpcProxy(firestore_address) as proxy, patch.dict(os.environ, FIRESTORE_EMULATOR_HOST=proxy.address):
        store = FirestoreStore(tmp_path.name, "wordup")
        yield store, proxy.lose_answers
        await store.close()


@pytest.fixture
async def azure_tables(azurite_url: str, tmp_path: Path) -> AsyncGenerator[Opened]:
    table = "".join(character for character in tmp_path.name if character.isalnum())
    with Proxy(azurite_url) as proxy:
        endpoint = f"{proxy.url}/{azurite.ACCOUNT}"
        await create_azure_table(endpoint, table)
        store = AzureTablesStore(table, endpoint)
        yield store, proxy.lose_answers
        await store.close()


@pytest.fixture(params=["firestore", "azure_tables"])
def opened(request: pytest.FixtureRequest) -> Opened:
    return request.getfixturevalue(request.param)


async def test_an_add_counts_once(opened: Opened) -> None:
    store, lose_answers = opened
    up = Add(sk="a", counts={"n": 1}, ceilings={"n": 2})
    for expected in (1, 2):
        lose_answers(1)
        assert await store.add("p", up) == {"n": expected}


async def test_a_conditional_put_has_won(opened: Opened) -> None:
    store, lose_answers = opened
    lose_answers(1)
    await store.write("p", [Put(sk="a", if_absent=True)])
    row = await store.get("p", "a")
    assert row is not None
    lose_answers(1)
    await store.write("p", [Put(sk="a", data={"n": 2}, if_version=row.version)])
    row = await store.get("p", "a")
    assert row is not None
    assert row.data == {"n": 2}


async def test_a_conditional_delete_beside_a_put_has_won(opened: Opened) -> None:
    store, lose_answers = opened
    await store.write("p", [Put(sk="hold")])
    lose_answers(1)
    await store.write("p", [Delete(sk="hold", must_exist=True), Put(sk="turn")])
    assert [row.sk for row in (await store.query("p", "", limit=5)).rows] == ["turn"]


async def test_a_delete_in_a_page_of_deletes_is_no_error(opened: Opened) -> None:
    store, lose_answers = opened
    await store.write("p", [Put(sk=f"a{number}") for number in range(5)])
    lose_answers(1)
    await store.write("p", [Delete(sk=f"a{number}") for number in range(5)])
    assert (await store.query("p", "", limit=5)).rows == []
