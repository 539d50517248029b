"""DynamoDB's own ways: lost answers, cancelled transactions, the size and the price of what is written."""

import json
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import botocore.session
import pytest

from tests.dynamodb import cancellation, item_bytes, operations, refusal
from tests.emulators import AWS_ENVIRONMENT, create_dynamodb_table, delete_dynamodb_table, ministack_server, moto_server
from tests.proxy import Answer, Proxy
from wordup.errors import CeilingReached, ConditionFailed, RowTooLarge, StoreUnavailable
from wordup.stores.base import Add, Delete, Operation, Put
from wordup.stores.documents import MAX_TEXT_BYTES
from wordup.stores.dynamodb import DynamoDBStore
from wordup.stores.retry import Retry

TABLE = "wordup"


class Waits(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with ministack_server(tmp_path_factory.mktemp("ministack")) as url, patch.dict(os.environ, AWS_ENVIRONMENT):
        yield url


@pytest.fixture
def proxy(server: str) -> Iterator[Proxy]:
    with Proxy(server) as proxy:
        create_dynamodb_table(server, TABLE)
        yield proxy
        delete_dynamodb_table(server, TABLE)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
async def store(proxy: Proxy, waits: Waits) -> AsyncGenerator[DynamoDBStore]:
    store = DynamoDBStore(TABLE, proxy.url, retry=Retry(sleep=waits))
    yield store
    await store.close()


def client(url: str) -> Any:
    return botocore.session.Session().create_client("dynamodb", endpoint_url=url)


def stored(proxy: Proxy, sk: str) -> dict[str, Any]:
    found = client(proxy.url).get_item(TableName=TABLE, Key={"pk": {"S": "p"}, "sk": {"S": sk}})
    return found["Item"]


async def test_an_add_whose_answer_was_lost_counts_once(store: DynamoDBStore, proxy: Proxy, waits: Waits) -> None:
    proxy.lose_answers(1)
    assert await store.add("p", Add(sk="a", counts={"n": 1}, ceilings={"n": 1})) == {"n": 1}
    proxy.lose_answers(1)
    assert await store.add("p", Add(sk="a", counts={"n": 1})) == {"n": 2}
    assert operations(proxy) == ["UpdateItem"] * 4
    assert len(waits) == 2


async def test_a_conditional_put_whose_answer_was_lost_has_won(store: DynamoDBStore, proxy: Proxy) -> None:
    proxy.lose_answers(1)
    await store.write("p", [Put(sk="a", data={"n": 1}, if_absent=True)])
    row = await store.get("p", "a")
    assert row is not None
    proxy.lose_answers(1)
    await store.write("p", [Put(sk="a", data={"n": 2}, if_version=row.version)])
    row = await store.get("p", "a")
    assert row is not None
    assert row.data == {"n": 2}


async def test_a_conditional_delete_whose_answer_was_lost_has_won(store: DynamoDBStore, proxy: Proxy) -> None:
    await store.write("p", [Put(sk="a")])
    proxy.lose_answers(1)
    await store.write("p", [Delete(sk="a", must_exist=True)])
    assert await store.get("p", "a") is None
    with pytest.raises(ConditionFailed):
        await store.write("p", [Delete(sk="a", must_exist=True)])


async def test_a_transaction_whose_answer_was_lost_happens_once(store: DynamoDBStore, proxy: Proxy) -> None:
    proxy.lose_answers(2)
    await store.write("p", [Add(sk="a", counts={"n": 1}), Put(sk="b", if_absent=True), Delete(sk="c")])
    assert operations(proxy) == ["TransactWriteItems"] * 3
    assert await store.add("p", Add(sk="a", counts={"n": 0})) == {"n": 1}


@pytest.mark.parametrize(
    "answer",
    [
        cancellation("None", "ThrottlingError"),
        cancellation("ConditionalCheckFailed", "TransactionConflict"),
        cancellation("ProvisionedThroughputExceeded", "None"),
        refusal("TransactionInProgressException"),
        refusal("ThrottlingException"),
        refusal("RequestLimitExceeded"),
        refusal("InternalServerError", status=500),
        Answer(503, b"<html>no JSON</html>", {"Content-Type": "text/html"}),
    ],
    ids=lambda answer: f"{answer.status}-{answer.body[-70:].decode()}",
)
async def test_what_passes_by_itself_is_retried_after_a_wait(
    store: DynamoDBStore, proxy: Proxy, waits: Waits, answer: Answer
) -> None:
    with proxy.answering(answer, 3):
        await store.write("p", [Put(sk="a", data={"n": 1}, if_absent=True), Put(sk="b")])
    assert proxy.throttled == 3
    assert len(waits) == 3
    assert all(0 <= wait <= bound for wait, bound in zip(waits, [0.025, 0.05, 0.1], strict=True))
    assert await store.get("p", "a") is not None


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnrecognizedClientException", "SomethingNew"])
async def test_a_refused_request_is_not_retried_and_says_why(store: DynamoDBStore, proxy: Proxy, code: str) -> None:
    with proxy.answering(refusal(code), None), pytest.raises(StoreUnavailable, match=code) as failed:
        await store.get("p", "a")
    assert proxy.throttled == 1
    assert "rights on the table" in failed.value.mend


async def test_a_missing_table_says_what_to_do(server: str) -> None:
    store = DynamoDBStore("elsewhere", server)
    with pytest.raises(StoreUnavailable, match="table is not there") as failed:
        await store.get("p", "a")
    assert "WORDUP_TABLE" in failed.value.mend
    await store.close()


async def test_a_server_that_is_gone_is_unavailable_after_all_attempts(proxy: Proxy, waits: Waits) -> None:
    with Proxy(proxy.url) as gone:
        url = gone.url
    store = DynamoDBStore(TABLE, url, retry=Retry(attempts=4, sleep=waits))
    with pytest.raises(StoreUnavailable):
        await store.get("p", "a")
    assert len(waits) == 3
    await store.close()


async def test_missing_credentials_are_told_at_once(
    server: str, waits: Waits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    store = DynamoDBStore(TABLE, server, retry=Retry(sleep=waits))
    with pytest.raises(StoreUnavailable, match="credentials"):
        await store.get("p", "a")
    assert waits == []
    await store.close()


async def test_one_operation_costs_no_transaction(store: DynamoDBStore, proxy: Proxy) -> None:
    await store.write("p", [Put(sk="a", if_absent=True)])
    await store.write("p", [Add(sk="a", counts={"n": 1})])
    await store.write("p", [Delete(sk="a")])
    await store.write("p", [Put(sk="a"), Put(sk="b")])
    assert operations(proxy) == ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"]


async def test_a_row_costs_little_more_than_its_keys_and_its_text(store: DynamoDBStore, proxy: Proxy) -> None:
    data = {"q": "x" * 800}
    await store.write("p", [Put(sk="a", data=data, counts={"n": 10_000}, expires_at=2_000_000_000)])
    item = stored(proxy, "a")
    assert set(item) == {"pk", "sk", "d", "c_n", "e", "v", "s"}
    assert item["d"] == {"S": json.dumps(data, separators=(",", ":"))}
    assert item_bytes(item) <= len("pk" + "p" + "sk" + "a") + len(item["d"]["S"]) + 24


async def test_a_long_document_that_json_would_swell_fits(store: DynamoDBStore, proxy: Proxy) -> None:
    await store.write("p", [Put(sk="a", data={"t": "\u0000" * 256 * 1024})])
    await store.write("p", [Put(sk="b", data={"t": "x" * (MAX_TEXT_BYTES - 100)})])
    assert item_bytes(stored(proxy, "a")) < 257 * 1024
    assert "S" in stored(proxy, "b")["d"]


@pytest.mark.parametrize("alone", [True, False])
async def test_the_limit_of_an_item_is_400_kib_to_the_byte(store: DynamoDBStore, proxy: Proxy, alone: bool) -> None:
    def row(characters: int) -> list[Operation]:
        operations: list[Operation] = [Put(sk="a", data={"t": "x" * characters})]
        return operations if alone else [*operations, Put(sk="b")]

    await store.write("p", row(400 * 1000))
    room = 400 * 1024 - item_bytes(stored(proxy, "a"))
    await store.write("p", row(400 * 1000 + room))
    assert item_bytes(stored(proxy, "a")) == 400 * 1024
    with pytest.raises(RowTooLarge):
        await store.write("p", row(400 * 1000 + room + 1))


async def test_an_add_that_makes_an_item_too_large_is_refused(store: DynamoDBStore, proxy: Proxy) -> None:
    await store.write("p", [Put(sk="a", data={"t": "x" * (409_600 - 60)})])
    with pytest.raises(RowTooLarge):
        await store.add("p", Add(sk="a", counts={"n" * 100: 1}))
    with pytest.raises(RowTooLarge):
        await store.write("p", [Add(sk="a", counts={"n" * 100: 1}), Put(sk="b")])


async def test_a_page_reads_one_row_more_than_it_gives(store: DynamoDBStore, proxy: Proxy) -> None:
    await store.write("p", [Put(sk=f"a:{number}") for number in range(9)])
    await store.query("p", "a:", limit=3)
    assert operations(proxy) == ["TransactWriteItems", "Query"]
    assert json.loads(proxy.exchanges[-1].response)["ScannedCount"] == 4


async def test_thousands_of_expired_rows_are_passed_in_few_requests(proxy: Proxy) -> None:
    now = 1_000_000.0
    store = DynamoDBStore(TABLE, proxy.url, clock=lambda: now)
    for start in range(0, 500, 25):
        expired = [Put(sk=f"a:{number:04}", expires_at=999_999) for number in range(start, start + 25)]
        await store.write("p", [*expired])
    await store.write("p", [Put(sk="a:9999")])
    proxy.exchanges.clear()
    assert [row.sk for row in (await store.query("p", "a:", limit=4)).rows] == ["a:9999"]
    assert len(proxy.exchanges) <= 8
    await store.close()


@pytest.mark.parametrize("ceilings", [{}, {"n": 3}, {"n": 2}])
async def test_an_add_over_a_row_that_is_renewed_meanwhile_loses_no_count(
    proxy: Proxy, waits: Waits, ceilings: dict[str, int]
) -> None:
    """Between finding the row expired and writing over it, another instance has begun it anew with 1."""
    now = 2_000.0
    other = DynamoDBStore(TABLE, proxy.url, clock=lambda: now)
    await other.write("p", [Put(sk="a", counts={"n": 7}, expires_at=1_000)])

    async def renew(_: float) -> None:
        waits.append(0)
        if len(waits) == 1:
            await other.add("p", Add(sk="a", counts={"n": 1}, expires_at=9_000))

    store = DynamoDBStore(TABLE, proxy.url, clock=lambda: now, retry=Retry(sleep=renew))
    adding = store.add("p", Add(sk="a", counts={"n": 2}, ceilings=ceilings))
    if ceilings == {"n": 2}:
        with pytest.raises(CeilingReached):
            await adding
    else:
        assert await adding == {"n": 3}
        assert len(waits) == 2
    await store.close()
    await other.close()


# What moto does otherwise. When one of these fails, moto has been mended: take it out.


@pytest.fixture(scope="module")
def moto(server: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Any]:
    with moto_server(tmp_path_factory.mktemp("moto")) as url:
        create_dynamodb_table(url, TABLE)
        yield client(url)


def add_one(sk: str) -> list[dict[str, Any]]:
    update = {"UpdateExpression": "ADD n :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
    return [{"Update": {"TableName": TABLE, "Key": {"pk": {"S": "p"}, "sk": {"S": sk}}, **update}}]


def counted_twice(dynamodb: Any) -> str:
    for _ in range(2):
        dynamodb.transact_write_items(TransactItems=add_one("a"), ClientRequestToken="the same")
    return dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": "p"}, "sk": {"S": "a"}})["Item"]["n"]["N"]


def test_moto_applies_a_repeated_transaction_twice(moto: Any, proxy: Proxy) -> None:
    assert counted_twice(client(proxy.url)) == "1"
    assert counted_twice(moto) == "2"


def test_moto_refuses_an_item_below_the_limit(moto: Any, proxy: Proxy) -> None:
    item = {"pk": {"S": "p"}, "sk": {"S": "a"}, "d": {"S": "x" * (409_599 - 7)}}
    assert item_bytes(item) == 409_599
    client(proxy.url).put_item(TableName=TABLE, Item=item)
    with pytest.raises(moto.exceptions.ClientError, match="maximum allowed size"):
        moto.put_item(TableName=TABLE, Item=item)


def test_moto_takes_a_value_that_no_expression_uses(moto: Any, proxy: Proxy) -> None:
    unused: Callable[[Any], Any] = lambda dynamodb: dynamodb.put_item(  # noqa: E731
        TableName=TABLE,
        Item={"pk": {"S": "p"}, "sk": {"S": "u"}},
        ConditionExpression="attribute_not_exists(pk)",
        ExpressionAttributeValues={":unused": {"N": "1"}},
    )
    emulated = client(proxy.url)
    with pytest.raises(emulated.exceptions.ClientError, match="unused"):
        unused(emulated)
    unused(moto)
