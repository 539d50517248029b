"""Our own parsers, each fed with bytes that atheris (libFuzzer) makes by what it sees of the code that they reach.

    python -m tests.parsers [RUNS]

feeds each parser in a process of its own, at most so many times and a minute long (`make fuzz`). What a parser may
raise is named here; anything else ends the run with the bytes that did it. tests/unit/test_parsers.py feeds the same
parsers without atheris, which is packaged for Linux on x86-64 alone.
"""

import asyncio
import contextlib
import functools
import io
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from benchmarks import response_stream
from benchmarks.response_stream import ProtocolViolation
from tests import serving
from wordup import documents, keys, paging, requests
from wordup.auth import Authenticator, Credentials
from wordup.bootstrap import build
from wordup.endpoints import wire
from wordup.endpoints.base import Media, Step
from wordup.errors import (
    ConfigurationError,
    EndpointError,
    InvalidField,
    InvalidToken,
    MissingToken,
    RateLimited,
    WordUpError,
    WrongAccessKey,
)
from wordup.ids import is_ulid
from wordup.turns import parse_message_id

RUNS = 200_000
SECONDS = 60
MOST_BYTES = 2_048
# What atheris sees has to be imported under its eyes.
FEED = """
import sys
import atheris

with atheris.instrument_imports(include=["wordup", "benchmarks.response_stream", "tomllib", "ipaddress"]):
    from tests import parsers

atheris.Setup(sys.argv, parsers.PARSERS[sys.argv.pop(1)].feed)
atheris.Fuzz()
"""


@dataclass(frozen=True)
class Parser:
    """`feed` fails on what must not be; `seeds` are where the search begins."""

    feed: Callable[[bytes], None]
    seeds: list[bytes]


def cursor(data: bytes) -> None:
    with contextlib.suppress(InvalidField):
        found = paging.decode(data.decode("latin-1"), keys.RECENT)
        assert found is None or (found.startswith(keys.RECENT) and found.isascii() and found.isprintable())


def message_id(data: bytes) -> None:
    with contextlib.suppress(InvalidField):
        assert all(map(is_ulid, parse_message_id(data.decode("latin-1"), "/id")))


def idempotency_key(data: bytes) -> None:
    sk = keys.idempotency(data.decode("latin-1"))
    assert sk.isascii()
    assert not set(sk) & set("/\\#?%")


def forwarded_for(data: bytes) -> None:
    headers = [(b"x-forwarded-for", data)]
    request = Request({"type": "http", "headers": headers, "client": ("192.0.2.1", 1)})
    assert len(requests.client_address(request, 1)) < 64


def front_matter(data: bytes) -> None:
    with contextlib.suppress(ConfigurationError):
        assert all(section.anchor for section in documents.sections("a", data.decode(errors="replace")))


def endpoint_events(data: bytes) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 64):
            yield data[start : start + 64]

    async def feed() -> None:
        found: list[Step | Media] = []
        with contextlib.suppress(WordUpError):
            async for event in wire.events(chunks(), SECONDS):
                found.append(event)  # noqa: PERF401 - what came before an error counts
            assert isinstance(found[-1], Media)

    asyncio.run(feed())


def endpoint_refusal(data: bytes) -> None:
    assert isinstance(wire.failure(500, data, data[:20].decode("latin-1")), WordUpError)


def classification(data: bytes) -> None:
    with contextlib.suppress(EndpointError):
        wire.classification(data)


@functools.cache
def auth() -> Authenticator:
    return build(serving.settings(Path(tempfile.mkdtemp()), sign_ins_per_minute=100_000)).auth


def session_token(data: bytes) -> None:
    with contextlib.suppress(InvalidToken, MissingToken, WrongAccessKey, RateLimited):
        user = asyncio.run(auth().user(Credentials(authorization=f"Bearer {data.decode('latin-1')}")))
        raise AssertionError(f"this is nobody's token, not that of {user.id}")


def lambda_stream(data: bytes) -> None:
    headers = {"Transfer-Encoding": "chunked", "Content-Type": response_stream.CONTENT_TYPE, "Trailer": "a"}
    with contextlib.suppress(ProtocolViolation):
        reader = response_stream.Reader(headers, io.BytesIO(data))
        status, _ = response_stream.head(reader.prelude())
        assert 100 <= status <= 599
        for _ in reader.pieces():
            pass
        reader.fault()


PRELUDE = b'{"statusCode":200,"headers":{"a":"b"},"cookies":["c=d"]}' + response_stream.DELIMITER
MATTER = b'+++\ntitle = "a"\nsources = ["https://a.example"]\n+++\n# b\n\nKeywords: c\n\n```\n# d\n```\n'
DEEP = b"[" * 100_000
PARSERS = {
    "cursor": Parser(cursor, [b"cmVjZW50OmE", b"cmVjZW50Og"]),
    "message id": Parser(message_id, [b"01M7YWYHZTEV160F9R83T148NZ.01M7YWYHZTEV160F9R83T148NY"]),
    "session token": Parser(session_token, [b"00000000.eyJzdWIiOiJhIn0.AAAA", b"wu_a"]),
    "idempotency key": Parser(idempotency_key, [b"a"]),
    "X-Forwarded-For": Parser(forwarded_for, [b"192.0.2.1", b"a, [2001:db8::1%eth0]:443", b"::ffff:192.0.2.1"]),
    "front matter": Parser(
        front_matter,
        [MATTER, b"+++\na = %s\n+++\n" % DEEP, b"---\ntitle: a\nsources:\n  - https://b.example\n---\n## c\n"],
    ),
    "events of an endpoint": Parser(
        endpoint_events,
        [b'event: step\ndata: {"step": 1, "steps": 2}\n\n: a\n\n', b'event: step\ndata: {"a": %s\n\n' % DEEP],
    ),
    "refusal of an endpoint": Parser(endpoint_refusal, [b'{"code": "a", "detail": "b"}', b'{"a": %s' % DEEP, b"12"]),
    "classification": Parser(classification, [b'{"label": "a", "score": 0.5}', b'{"a": %s' % DEEP]),
    "stream of Lambda": Parser(lambda_stream, [b"%x\r\n%s\r\n0\r\na: b\r\n\r\n" % (len(PRELUDE), PRELUDE)]),
}


def main(runs: int) -> int:
    failed: list[str] = []
    for name, parser in PARSERS.items():
        with tempfile.TemporaryDirectory() as temporary:
            for number, seed in enumerate(parser.seeds):
                (Path(temporary) / str(number)).write_bytes(seed)
            options = [f"-runs={runs}", f"-max_total_time={SECONDS}", f"-max_len={MOST_BYTES}", "-seed=1"]
            options += ["-timeout=10", f"-artifact_prefix={temporary}/", temporary]
            done = subprocess.run(
                [sys.executable, "-c", FEED, name, *options], capture_output=True, text=True, check=False
            )
        print(f"{name}: {done.stderr.strip().splitlines()[-1]}", flush=True)
        if done.returncode:
            print(done.stdout or done.stderr, flush=True)
            failed.append(name)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS))
