"""Requests made from the bot's own description of its interface, valid and not, by schemathesis.

    python -m tests.fuzzing [REQUESTS]

sends so many, by default 10,000, to each home in turn (`make fuzz`).
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.functions import Function, LambdaFunction, aws_function, azure_function, gcp_function
from tests.home import serving
from tests.serving import Caller

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
KEY = "wu_of-the-fuzzer"
ROOMY = {
    "WORDUP_ACCESS_KEY": KEY,
    "WORDUP_RATE_LIMIT_PER_MINUTE": "100000",
    "WORDUP_SIGN_INS_PER_MINUTE": "100000",
    "WORDUP_USER_DAILY_USD": "1000000",
    "WORDUP_DEPLOYMENT_DAILY_USD": "1000000",
}
# No 5xx, and no answer that the description lacks: status, media type, body, headers, methods.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,unsupported_method,allow_header_conformance"
)
# After it the caller is nobody: asked alone, at the end.
LAST = "DELETE /v1/me"
CONVERSATIONS = 6
EVERY_METHOD = ("get", "put", "post", "delete", "options", "patch", "trace", "query")
# API Gateway and the Functions host answer the others themselves.
OF_FUNCTIONS = ("get", "put", "post", "delete", "options", "patch")


@dataclass(frozen=True)
class Fuzzed:
    """`statuses` counts the answers; `report` is what schemathesis said, `passed` whether it found nothing."""

    passed: bool
    statuses: Counter[int]
    report: str

    def __add__(self, other: "Fuzzed") -> "Fuzzed":
        return Fuzzed(self.passed and other.passed, self.statuses + other.statuses, f"{self.report}\n{other.report}")


@dataclass(frozen=True)
class Entry:
    """A way into the bot: `running` gives its URL, `methods` are those that reach the application."""

    running: Callable[[Path], AbstractContextManager[str]]
    methods: tuple[str, ...]


def fuzz(url: str, folder: Path, methods: Sequence[str], *, examples: int, seed: int = 1) -> Fuzzed:
    """At most `examples` requests of each kind an operation, as a signed-in caller with a past."""
    caller = Caller(url, KEY)
    answers = [caller.ask("What is AWS Lambda?").json() for _ in range(CONVERSATIONS)]
    ids = [answer[field] for answer in answers for field in ("conversation_id", "message_id")]
    caller.http.close()
    # Half of the ids are real, so that more than a 404 is seen.
    (folder / "schemathesis.toml").write_text(
        f"[phases.coverage]\nunexpected-methods = {json.dumps(methods)}\n"
        f"[dictionaries.ids]\nvalues = {json.dumps(ids)}\n[parameters]\n"
        '"path.id" = { dictionary = "ids", probability = 0.5 }\n'
        '"body.conversation_id" = { dictionary = "ids", probability = 0.3 }\n'
        '"body.regenerate_of" = { dictionary = "ids", probability = 0.1 }\n'
    )
    token = caller.http.headers["authorization"]
    most = _run(url, folder, token, ["--exclude-name", LAST], examples=examples, seed=seed)
    return most + _run(url, folder, token, ["--include-name", LAST], examples=1, seed=seed)


def _run(url: str, folder: Path, token: str, which: list[str], *, examples: int, seed: int) -> Fuzzed:
    exchanges = folder / f"exchanges-{seed}-{len(which[0])}.har"
    options = ["--checks", CHECKS, "--seed", str(seed), "--max-examples", str(examples), "--mode", "all"]
    options += ["--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--no-shrink", "--no-color"]
    options += ["--generation-database", "none", "--request-timeout", "60", "--report-har-path", str(exchanges)]
    target = [f"{url}/openapi.json", "--url", url, "--header", f"Authorization: {token}"]
    done = subprocess.run(
        [SCHEMATHESIS, "run", *target, *options, *which],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    report = re.sub(r"=+ WARNINGS =+.+?(=+ SUMMARY)", r"\1", done.stdout, flags=re.DOTALL) + done.stderr
    entries = json.loads(exchanges.read_text())["log"]["entries"] if exchanges.exists() else []
    return Fuzzed(done.returncode == 0, Counter(entry["response"]["status"] for entry in entries), report)


@contextmanager
def at_home(folder: Path) -> Iterator[str]:
    with serving(folder, **ROOMY) as home:
        yield home.url


def on(function: Callable[[Path], Function | LambdaFunction]) -> Callable[[Path], AbstractContextManager[str]]:
    @contextmanager
    def running(folder: Path) -> Iterator[str]:
        # SQLite's metrics would be for Prometheus, and its client is not in the archives.
        stored = {"WORDUP_DATA_DIR": str(folder / "data"), "WORDUP_METRICS": "log"}
        with function(folder).running(**ROOMY, **stored) as process:
            yield process.url

    return running


ENTRIES = {
    "uvicorn": Entry(at_home, EVERY_METHOD),
    "Lambda": Entry(on(aws_function), OF_FUNCTIONS),
    "Azure Functions": Entry(on(azure_function), OF_FUNCTIONS),
    "Cloud Functions": Entry(on(gcp_function), EVERY_METHOD),
}


def main(wanted: int) -> int:
    total, seed, failed = Counter[str](), 1, False
    while sum(total.values()) < wanted:
        for name, entry in ENTRIES.items():
            with tempfile.TemporaryDirectory() as temporary, entry.running(Path(temporary)) as url:
                found = fuzz(url, Path(temporary), entry.methods, examples=100, seed=seed)
            for status, count in found.statuses.items():
                total[f"{name} {status // 100}xx"] += count
            failed = failed or not found.passed
            print(
                f"seed {seed}, {name}: {found.statuses.total()} requests, {dict(sorted(found.statuses.items()))}",
                flush=True,
            )
            if not found.passed:
                print(found.report)
        seed += 1
    print(f"{sum(total.values())} requests: {dict(sorted(total.items()))}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
