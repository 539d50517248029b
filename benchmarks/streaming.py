"""How long after the provider's delta the caller has it, through each way into the bot that streams.

The provider is a stand-in on this machine whose every delta is the time at which it is sent, by the clock that all
processes of a machine share; the caller compares that with its own clock when the event arrives. `first` is the first
delta of an answer, `later` all others, which come one every 20 ms. The provider asked directly is the baseline: its
figures are what the sockets and the two clients cost. Lambda's has its Runtime API and an API Gateway that streams
before it, both stand-ins on this machine. The functions are the packaged archives with their own requirements, as
tests/functions.py runs them; the answers are stored in SQLite, after the last delta.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, override

import httpx2

from benchmarks import results
from tests.functions import Function, LambdaFunction, aws_function, azure_function, gcp_function
from tests.home import serving
from tests.serving import Caller, parse_events

REPETITIONS = 30
DELTAS = 10
DELTA_SECONDS = 0.02
KEY = "the benchmark's own key"
VERSIONS = ("aiohttp", "azure-functions-runtime", "functions-framework", "httpx2", "starlette", "uvicorn", "uvloop")

Ask = Callable[[], Iterator[str]]  # the texts of one answer's deltas, as they come


class Provider(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    @contextmanager
    def running(self) -> Iterator["Provider"]:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        yield self
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for _ in range(DELTAS):
            time.sleep(DELTA_SECONDS)
            self._event({"delta": {"content": f"{time.monotonic_ns()} "}, "finish_reason": None})
        self._event({"delta": {}, "finish_reason": "stop"}, {"prompt_tokens": 9, "completion_tokens": DELTAS})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, choice: dict[str, Any], usage: dict[str, int] | None = None) -> None:
        whole = {"id": "0", "object": "chat.completion.chunk", "created": 0, "model": "clock"}
        total = {"usage": usage | {"total_tokens": sum(usage.values())}} if usage else {}
        self._chunk(b"data: " + json.dumps(whole | {"choices": [{"index": 0, **choice}]} | total).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Not between the figures."""


def directly(provider: Provider) -> Ask:
    client = httpx2.Client()

    def ask() -> Iterator[str]:
        with client.stream("POST", f"{provider.url}/chat/completions", json={"stream": True}) as response:
            for line in response.iter_lines():
                if line.startswith("data: {") and (content := json.loads(line[6:])["choices"][0]["delta"]):
                    yield content["content"]

    return ask


def through(url: str) -> Ask:
    caller = Caller(url, KEY)

    def ask() -> Iterator[str]:
        with caller.http.stream("POST", "/chat", json={"message": "When?", "stream": True}) as response:
            for name, data in parse_events(response.iter_text()):
                if name == "delta":
                    yield data["text"]

    return ask


@contextmanager
def ways(folder: Path, provider: Provider) -> Iterator[dict[str, Ask]]:
    def variables(name: str) -> dict[str, str]:
        keys = {"WORDUP_ACCESS_KEY": KEY, "OPENAI_API_KEY": "sk-none", "WORDUP_RATE_LIMIT_PER_MINUTE": "100000"}
        # SQLite's metrics would be for Prometheus, and its client is not in the archives.
        stored = {"WORDUP_DATA_DIR": str(folder / name / "data"), "WORDUP_METRICS": "log"}
        return {**keys, **stored, "OPENAI_BASE_URL": provider.url}

    def place(name: str) -> Path:
        (folder / name).mkdir()
        return folder / name

    def function(name: str, made: Callable[[Path], Function | LambdaFunction]) -> Ask:
        return through(stack.enter_context(made(place(name)).running(**variables(name))).url)

    with ExitStack() as stack:
        yield {
            "the provider alone": directly(provider),
            "self-hosted, uvicorn": through(stack.enter_context(serving(place("home"), **variables("home"))).url),
            "Lambda, our runtime": function("aws", aws_function),
            "Cloud Functions, functions-framework": function("gcp", gcp_function),
            "Azure Functions, worker library": function("azure", azure_function),
        }


def delays(ask: Ask) -> list[float]:
    """Milliseconds of each delta of one answer. Two deltas in one text would be a late one: the older one counts."""
    return [(time.monotonic_ns() - int(text.split()[0])) / 1e6 for text in ask()]


def rows(taken: dict[str, list[list[float]]]) -> list[dict[str, str | float]]:
    table: list[dict[str, str | float]] = []
    for name, answers in taken.items():
        first = [answer[0] for answer in answers]
        later = [delay for answer in answers for delay in answer[1:]]
        table.append(
            {
                "way": name,
                "first_median_ms": round(statistics.median(first), 2),
                "first_p90_ms": round(statistics.quantiles(first, n=10)[-1], 2),
                "later_median_ms": round(statistics.median(later), 2),
                "later_p99_ms": round(statistics.quantiles(later, n=100)[-1], 2),
            }
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the recorded line instead of a table")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        Provider().running() as provider,
        ways(Path(folder), provider) as found,
    ):
        taken: dict[str, list[list[float]]] = {name: [] for name in found}
        for repetition in range(arguments.repetitions + 1):
            for name, ask in found.items():
                answer = delays(ask)
                if repetition:  # the first fills caches and opens connections
                    taken[name].append(answer)
    title = f"From the provider's delta to the caller, {arguments.repetitions} answers of {DELTAS} deltas each"
    results.publish("streaming", {title: rows(taken)}, VERSIONS, as_json=arguments.json)


if __name__ == "__main__":
    main()
