"""Table Storage's own ways: what it holds, how it purges, whom it talks to."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import Any, override

import pytest
from azure.data.tables.aio import TableClient

from infra.local import azurite
from tests.emulators import azurite_server, create_azure_table
from tests.proxy import Answer, Proxy
from wordup.errors import ConfigurationError, RowTooLarge, StoreUnavailable
from wordup.stores.azure_tables import AZURITE, MAX_DATA_BYTES, AzureTablesStore
from wordup.stores.base import MAX_OPERATIONS, Put


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with azurite_server(tmp_path_factory.mktemp("azurite")) as url:
        yield url


class Clock:
    now = 1_800_000_000

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(url: str, clock: Clock) -> AsyncGenerator[AzureTablesStore]:
    async with TableClient(url, "rows", credential=AZURITE) as client:
        await create_azure_table(url, "rows")
        store = AzureTablesStore("rows", url, clock=clock)
        yield store
        await store.close()
        await client.delete_table()


async def entities(url: str) -> list[dict[str, Any]]:
    async with TableClient(url, "rows", credential=AZURITE) as client:
        return [dict(entity) async for entity in client.list_entities()]


async def test_a_purge_of_5000_rows_goes_by_batches(store: AzureTablesStore, clock: Clock, url: str) -> None:
    for number in range(0, 5_000, MAX_OPERATIONS):
        rows = [Put(sk=f"a:{n:04}", expires_at=clock.now + 60) for n in range(number, number + MAX_OPERATIONS)]
        await store.write(f"u:{number // 1250}", [*rows])
    await store.write("u:1", [Put(sk="kept"), Put(sk="later", expires_at=clock.now + 61)])
    assert await store.purge(limit=1_000) == 0
    clock.now += 60
    assert [await store.purge(limit=1_300) for _ in range(5)] == [1_300, 1_300, 1_300, 1_100, 0]
    assert {entity["RowKey"] for entity in await entities(url)} == {"kept", "later"}


class RenewingProxy(Proxy):
    """Writes the row again between the first request, which finds it, and the second, which deletes it."""

    @override
    def take_answer(self) -> Answer | None:
        if len(self.exchanges) == 1:
            asyncio.run(renew(f"http://{self.address[0]}:{self.address[1]}/{azurite.ACCOUNT}"))
        return super().take_answer()


async def renew(url: str) -> None:
    other = AzureTablesStore("rows", url)
    await other.write("p", [Put(sk="a", data={"renewed": True})])
    await other.close()


async def test_a_row_that_was_renewed_outlives_the_purge_that_found_it(
    store: AzureTablesStore, clock: Clock, url: str
) -> None:
    await store.write("p", [Put(sk="a", expires_at=clock.now), Put(sk="b", expires_at=clock.now)])
    with RenewingProxy(url) as proxy:
        purging = AzureTablesStore("rows", f"{proxy.url}/{azurite.ACCOUNT}", clock=clock)
        assert await purging.purge(limit=10) == 0
        assert await purging.purge(limit=10) == 1
        await purging.close()
    assert [row.data for row in (await store.query("p", "", limit=10)).rows] == [{"renewed": True}]


async def test_a_short_document_is_readable_text_and_a_long_one_bytes(store: AzureTablesStore, url: str) -> None:
    await store.write("p", [Put(sk="long", data={"t": "😀" * 50_000}), Put(sk="short", data={"t": "it's"})])
    long, short = await entities(url)
    assert short["d"] == '{"t":"it\'s"}'
    assert [name for name in sorted(long) if name.startswith("d")] == ["d00", "d01", "d02", "d03"]


async def test_a_row_is_as_large_as_an_entity_and_no_larger(store: AzureTablesStore) -> None:
    fits = "x" * (MAX_DATA_BYTES - 100)
    await store.write("p", [Put(sk="a", data={"t": fits})])
    row = await store.get("p", "a")
    assert row is not None
    assert row.data["t"] == fits
    with pytest.raises(RowTooLarge):
        await store.write("p", [Put(sk="a", data={"t": "x" * MAX_DATA_BYTES})])


async def test_rows_that_are_together_too_large_are_refused_before_they_are_sent(store: AzureTablesStore) -> None:
    with pytest.raises(RowTooLarge):
        await store.write("p", [Put(sk=str(number), data={"t": "x" * 500_000}) for number in range(7)])
    await store.write("p", [Put(sk=str(number), data={"t": "x" * 490_000}) for number in range(6)])
    assert len((await store.query("p", "", limit=10)).rows) == 6


async def test_a_shorter_document_leaves_nothing_of_the_longer_one(store: AzureTablesStore) -> None:
    await store.write("p", [Put(sk="a", data={"t": "x" * 200_000})])
    await store.write("p", [Put(sk="a", data={"t": "y" * 70_000})])
    await store.write("p", [Put(sk="a", data={"t": "z"})])
    row = await store.get("p", "a")
    assert row is not None
    assert row.data == {"t": "z"}


async def test_a_table_that_is_not_there_names_the_setting(url: str) -> None:
    store = AzureTablesStore("another", url)
    for call in (store.get("p", "a"), store.write("p", [Put(sk="a")]), store.query("p", "", limit=1)):
        with pytest.raises(StoreUnavailable) as unavailable:
            await call
        assert "WORDUP_TABLE" in unavailable.value.mend
    await store.close()


@pytest.mark.parametrize("endpoint", ["", "wordup", "http://example.com/account", "ftp://127.0.0.1"])
def test_an_endpoint_that_would_send_the_key_in_the_clear_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        AzureTablesStore("rows", endpoint)
    assert refused.value.setting == "WORDUP_STORE_ENDPOINT"
