"""What a turn costs beside asking the provider itself: this bot with its whole turn, and the LiteLLM proxy.

The provider is a stand-in in a process of its own that answers at once. Three ways to ask it take turns, `--rounds`
times, from the same client over kept-alive connections: directly; by this bot's `POST /chat` (`wordup serve`, SQLite:
token, limits, reservation, knowledge, answer, one conversation stored a turn); by the LiteLLM proxy with its master
key, which stores nothing. One worker each. `added` is a way's median less the direct one's; the ratios compare this
bot with LiteLLM. All of these ask the same question, for which the bot has the passages at hand after the first time;
the last row asks it the questions of knowledge/eval/questions.toml by turns, more than it keeps at hand. The memory is
the resident set of this bot's process before and after `--memory` more turns of ten clients.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import results
from cli.evaluation import load
from infra.local.emulator import HOST, end, free_port, launch, listens, wait_until
from infra.spec import ROOT
from infra.toolchain import TOOLS
from tests.home import serving

ROUNDS = 5
ONE_CLIENT, TEN_CLIENTS = 100, 300  # requests of a round
MEMORY = 10_000
WARM_UP = 50
KEY = "sk-of-the-benchmark"
MODEL = "stand-in"
START_SECONDS = 180
VERSIONS = ("aiohttp", "httptools", "msgspec", "starlette", "uvicorn", "uvloop")

QUESTIONS = ROOT / "knowledge" / "eval" / "questions.toml"
MESSAGE = "What is a queue for?"
ANSWER = ("A queue ", "keeps work ", "for later.")
USAGE = {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23}


def chunk(delta: dict[str, str], reason: str | None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    body = {"id": "0", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": [choice], **more}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


STREAM = (
    b"".join(chunk({"content": text}, None) for text in ANSWER) + chunk({}, "stop", usage=USAGE) + b"data: [DONE]\n\n"
)
WHOLE = json.dumps(
    {
        "id": "0",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "".join(ANSWER)}, "finish_reason": "stop"}
        ],
        "usage": USAGE,
    }
).encode()


class Way(msgspec.Struct, frozen=True):
    """One way to ask: where, and the whole requests, which take turns from one round to the next."""

    name: str
    port: int
    requests: Iterator[bytes]


def way(name: str, port: int, path: str, *bodies: dict[str, Any]) -> Way:
    head = f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
    contents = [json.dumps(body).encode() for body in bodies]
    requests = [f"{head}content-length: {len(content)}\r\n\r\n".encode() + content for content in contents]
    return Way(name, port, itertools.cycle(requests))


async def read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The head and the body of a message with a length. Raises RuntimeError for one without."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head, await reader.readexactly(int(line.partition(b":")[2]))
    raise RuntimeError(f"no content-length: {head!r}")


async def provide(port: int) -> None:
    """The stand-in."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                _, body = await read(reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                return writer.close()
            kind, content = (b"text/event-stream", STREAM) if b'"stream":true' in body else (b"application/json", WHOLE)
            head = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n" % (kind, len(content))
            writer.write(head + content)

    async with await asyncio.start_server(answer, HOST, port) as server:
        await server.serve_forever()


async def ask(asked: Way, clients: int, requests: int) -> tuple[list[float], float]:
    """Milliseconds of each request, and requests a second. Raises RuntimeError for an answer that is no success."""
    taken: list[float] = []
    left = itertools.islice(asked.requests, requests)

    async def client() -> None:
        reader, writer = await asyncio.open_connection(HOST, asked.port)
        for request in left:
            began = time.perf_counter()
            writer.write(request)
            head, body = await read(reader)
            taken.append((time.perf_counter() - began) * 1000)
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{asked.name}: {head!r} {body!r}")
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return taken, requests / (time.perf_counter() - began)


@contextmanager
def stand_in(folder: Path) -> Generator[int]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.overhead", "--provide", str(port)]
    process = launch(command, folder, environment={"PYTHONPATH": f"{ROOT}:{ROOT / 'functions'}"})
    try:
        wait_until(lambda: listens(port), "The stand-in", process, folder)
        yield port
    finally:
        end(process)


@contextmanager
def litellm(folder: Path, provider: str) -> Generator[int]:
    folder.mkdir()
    port = free_port()
    parameters = {"model": f"openai/{MODEL}", "api_base": provider, "api_key": KEY}
    config = {
        "model_list": [{"model_name": MODEL, "litellm_params": parameters}],
        "general_settings": {"master_key": KEY},
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    command = [TOOLS / "litellm" / "bin" / "litellm", "--config", "config.yaml", "--host", HOST, "--port", str(port)]
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    process = launch([*command, "--num_workers", "1"], folder, environment=environment)
    try:
        wait_until(lambda: listens(port), "LiteLLM", process, folder, timeout=START_SECONDS)
        yield port
    finally:
        end(process)


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


def measured(ways: list[Way], rounds: int) -> list[dict[str, str | float]]:
    one: dict[str, list[float]] = {each.name: [] for each in ways}
    ten: dict[str, list[float]] = {each.name: [] for each in ways}
    rates: dict[str, list[float]] = {each.name: [] for each in ways}
    for each in ways:
        asyncio.run(ask(each, 10, WARM_UP))
    for _ in range(rounds):
        for each in ways:
            one[each.name] += asyncio.run(ask(each, 1, ONE_CLIENT))[0]
            taken, rate = asyncio.run(ask(each, 10, TEN_CLIENTS))
            ten[each.name] += taken
            rates[each.name].append(rate)
    base = statistics.median(one[ways[0].name])
    return [
        {
            "way": name,
            "1_client_p50_ms": round(statistics.median(one[name]), 2),
            "1_client_p95_ms": round(statistics.quantiles(one[name], n=20)[-1], 2),
            "added_p50_ms": round(statistics.median(one[name]) - base, 2),
            "10_clients_p50_ms": round(statistics.median(ten[name]), 2),
            "10_clients_p95_ms": round(statistics.quantiles(ten[name], n=20)[-1], 2),
            "10_clients_requests_per_s": round(statistics.median(rates[name]), 1),
        }
        for name in one
    ]


def compared(rows: list[dict[str, Any]]) -> list[dict[str, str | float]]:
    _, ours, theirs, _ = rows
    return [
        {
            "figure": "added p50, ours to LiteLLM's",
            "ratio": round(ours["added_p50_ms"] / theirs["added_p50_ms"], 3),
            "target": "0.125 or less",
        },
        {
            "figure": "requests a second of 10 clients, ours to LiteLLM's",
            "ratio": round(ours["10_clients_requests_per_s"] / theirs["10_clients_requests_per_s"], 2),
            "target": "8 or more",
        },
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the recorded line instead of a table")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--memory", type=int, default=MEMORY, help="turns between the two looks at the memory")
    parser.add_argument("--provide", type=int, metavar="PORT", help="be the stand-in")
    arguments = parser.parse_args()
    if arguments.provide:
        asyncio.run(provide(arguments.provide))
        return
    with tempfile.TemporaryDirectory() as root, stand_in(Path(root)) as provider:
        folder, address = Path(root), f"http://{HOST}:{provider}/v1"
        unlimited = {"WORDUP_RATE_LIMIT_PER_MINUTE": "100000", "WORDUP_MODEL": f"openai:{MODEL}"}
        unlimited |= {"WORDUP_USER_DAILY_USD": "10000", "WORDUP_DEPLOYMENT_DAILY_USD": "10000"}
        unlimited |= {"WORDUP_MODEL_PRICES": f"openai:{MODEL}=0.25/2"}
        unlimited |= {"OPENAI_BASE_URL": address, "OPENAI_API_KEY": KEY}
        with (
            litellm(folder / "litellm", address) as theirs,
            serving(folder, WORDUP_ACCESS_KEY=KEY, **unlimited) as home,
        ):
            asked = {"model": MODEL, "messages": [{"role": "user", "content": MESSAGE}]}
            ours = way("Word Up!", int(home.url.rpartition(":")[2]), "/chat", {"message": MESSAGE})
            others = [{"message": question.text} for question in load(QUESTIONS)]
            ways = [
                way("the provider alone", provider, "/v1/chat/completions", asked),
                ours,
                way("LiteLLM proxy", theirs, "/v1/chat/completions", asked),
                way("Word Up!, another question each time", ours.port, "/chat", *others),
            ]
            rows = measured(ways, arguments.rounds)
            before = resident_mib(home.process.pid)
            asyncio.run(ask(ours, 10, arguments.memory))
            after = resident_mib(home.process.pid)
    memory = {
        "way": "Word Up!",
        "turns": arguments.memory,
        "before_mib": round(before, 1),
        "after_mib": round(after, 1),
        "growth_percent": round((after / before - 1) * 100, 1),
    }
    title = f"{arguments.rounds} rounds of {ONE_CLIENT} requests by one client and {TEN_CLIENTS} by ten"
    tables = {title: rows, "Beside LiteLLM": compared(rows), "Resident memory": [memory]}
    results.publish("overhead", tables, VERSIONS, as_json=arguments.json)


if __name__ == "__main__":
    main()
