"""How many bytes a chat turn moves to and from DynamoDB as its conversation grows, beside langchain-community.

Every question and every answer has 800 characters. Each chat takes all its turns, one after the other, on the same
embedded DynamoDB, through a proxy that counts: `sent` and `received` are the bodies of the HTTP requests and of their
answers, `stored` is what DynamoDB bills the items by that the turn asks it to write. The figures of a turn are the
medians of the five turns up to it. `kept` is how many messages the database holds after it; two a turn are all there
were. The bot is the whole use case, with its limits, its Idempotency-Key, its retrieval and its list of conversations;
its answers come from a stand-in for OpenAI. LangChain's chat is its history alone, without a model: unbounded, as it is
by default, and bounded to as many messages as fit into the bot's history window. Above 400 KB DynamoDB refuses the
unbounded one's item; that turn is lost and the next one is tried.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import botocore.exceptions
import botocore.session

from benchmarks import results
from infra.local import ministack
from tests.dynamodb import item_bytes, operation
from tests.emulators import create_dynamodb_table
from tests.provider_server import ProviderServer, Reply
from tests.proxy import Exchange, Proxy
from wordup.admission import TurnRequest
from wordup.auth import named
from wordup.bootstrap import build
from wordup.config import Settings
from wordup.conversations import Conversations
from wordup.ids import ulid

TURNS = (20, 100, 1000)
SAMPLE = 5
QUESTION, ANSWER = "q" * 800, "a" * 800
WINDOW_MESSAGES = 30  # 6,000 tokens of 800 characters each
VERSIONS = ("boto3", "botocore", "langchain-community", "langchain-core", "msgspec")

Turn = Callable[[int], Awaitable[None]]  # takes the turn of that number
Kept = Callable[[], Awaitable[int]]


def stored_bytes(exchange: Exchange) -> int:
    """The items that a request put, and the keys and new values of those that it updated."""
    body = json.loads(exchange.request)
    match operation(exchange):
        case "PutItem":
            writes = [{"Put": body}]
        case "UpdateItem":
            writes = [{"Update": body}]
        case "TransactWriteItems":
            writes = body["TransactItems"]
        case _:
            writes = []
    return sum(_written(kind, arguments) for write in writes for kind, arguments in write.items())


def _written(kind: str, arguments: dict[str, Any]) -> int:
    match kind:
        case "Put":
            return item_bytes(arguments["Item"])
        case "Update":
            return item_bytes(arguments["Key"]) + item_bytes(arguments.get("ExpressionAttributeValues", {}))
        case _:
            return 0


async def measured(proxy: Proxy, wanted: Sequence[int], turn: Turn, kept: Kept) -> list[dict[str, Any]]:
    """A row for each wanted turn."""
    rows: list[dict[str, Any]] = []
    figures: list[tuple[int, int, int, int]] = []
    for number in range(1, max(wanted) + 1):
        proxy.exchanges.clear()
        await turn(number)
        taken = list(proxy.exchanges)
        sent, received = sum(len(each.request) for each in taken), sum(len(each.response) for each in taken)
        figures.append((len(taken), sent, received, sum(map(stored_bytes, taken))))
        if number in wanted:
            medians = [round(statistics.median(column)) for column in zip(*figures[-SAMPLE:], strict=True)]
            names = ("requests", "sent_bytes", "received_bytes", "stored_bytes")
            rows.append({"turn": number, **dict(zip(names, medians, strict=True)), "kept_messages": await kept()})
    return rows


async def word_up(proxy: Proxy, provider: str, wanted: Sequence[int]) -> list[dict[str, Any]]:
    settings = Settings.parse(
        {
            "store": "dynamodb",
            "table": "wordup",
            "store_endpoint": proxy.url,
            "provider": "openai",
            "model": "openai:stand-in",
            "model_prices": "openai:stand-in=1/2",
            "openai_base_url": provider,
            "signing_key_ref": "file:unused",
            "rate_limit_per_minute": 100_000,
            "user_daily_usd": 1000,
            "deployment_daily_usd": 1000,
        }
    )
    bot, user, conversation = build(settings), named("ada"), ulid()
    create_dynamodb_table(proxy.url, settings.table)

    async def turn(number: int) -> None:
        request = TurnRequest(message=QUESTION, conversation_id=None if number == 1 else conversation)
        async for event in bot.chat.turn(user, request, key=f"turn {number}"):
            renamed(event)

    def renamed(event: Any) -> None:
        """The first turn names the conversation."""
        nonlocal conversation
        conversation = event.conversation_id if hasattr(event, "conversation_id") else conversation

    async def kept() -> int:
        _, turns = await Conversations(bot.store).export(user, conversation)
        return 2 * len(turns)

    rows = await measured(proxy, wanted, turn, kept)
    await bot.close()
    return rows


async def langchain(proxy: Proxy, history_size: int | None, wanted: Sequence[int]) -> list[dict[str, Any]]:
    from benchmarks.peers.langchain_history import LangChainChat  # it takes a while

    table = f"history-{history_size}"
    dynamodb: Any = botocore.session.Session().create_client("dynamodb", endpoint_url=proxy.url)
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "SessionId", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "SessionId", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    chat = LangChainChat(table, proxy.url, history_size)

    async def turn(_: int) -> None:
        with contextlib.suppress(botocore.exceptions.ClientError):
            chat.turn(QUESTION, ANSWER)

    async def kept() -> int:
        return len(chat.messages())

    return await measured(proxy, wanted, turn, kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the recorded line instead of tables")
    parser.add_argument("--turns", type=int, nargs="+", default=TURNS)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = stack.enter_context(ministack.started(folder / "ministack"))
        os.environ |= running.environment  # the clients of this process
        proxy = stack.enter_context(Proxy(running.url))
        provider = stack.enter_context(ProviderServer(Reply(deltas=(ANSWER[:400], ANSWER[400:]))))
        tables = {
            "Word Up!": asyncio.run(word_up(proxy, provider.url, arguments.turns)),
            "langchain-community": asyncio.run(langchain(proxy, None, arguments.turns)),
            f"langchain-community, history_size={WINDOW_MESSAGES}": asyncio.run(
                langchain(proxy, WINDOW_MESSAGES, arguments.turns)
            ),
        }
    results.publish("storage_growth", tables, VERSIONS, as_json=arguments.json)


if __name__ == "__main__":
    main()
