"""A runtime of our own on AWS Lambda, because the managed one for Python hands over whole answers only.

It speaks the Runtime API (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html): asks for an event, gives it
to a handler, which posts the answer, and asks again. A streamed answer is posted in chunks, in the format
`application/vnd.awslambda.http-integration-response`: status and headers as JSON, eight NUL bytes, the body; what fails
once that began is told in trailers
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming).

Every request has a connection of its own: one kept from before a freeze, or from before a snapshot, may be dead.
"""

import asyncio
import base64
import contextlib
import gc
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

import h11
import msgspec

from wordup.config import LambdaEnvironment

VERSION = "/2018-06-01/runtime"
FAULT_TYPE, FAULT_BODY = "Lambda-Runtime-Function-Error-Type", "Lambda-Runtime-Function-Error-Body"
STREAMED = (
    ("Lambda-Runtime-Function-Response-Mode", "streaming"),
    ("Content-Type", "application/vnd.awslambda.http-integration-response"),
    ("Transfer-Encoding", "chunked"),
    ("Trailer", f"{FAULT_TYPE}, {FAULT_BODY}"),
)
DELIMITER = bytes(8)
READ_BYTES = 65_536


class RuntimeAPIError(Exception):
    """Lambda did not take, or did not give, what the Runtime API promises."""


class Invocation(msgspec.Struct, frozen=True):
    """`deadline` is when Lambda ends the process, in seconds since the epoch; `trace` is X-Ray's header."""

    id: str
    event: bytes
    deadline: float
    trace: str = ""

    def remaining(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.time()


class Fault(msgspec.Struct, frozen=True, rename="camel"):
    """What Lambda counts as an error of the function. It never holds an exception's text of an invocation, which may
    quote a message."""

    error_type: str
    error_message: str


class RuntimeAPI:
    """`address` is `host:port`. Raises RuntimeAPIError, OSError."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)

    async def next(self) -> Invocation:
        """Waits for an event; the process is frozen meanwhile."""
        headers, event = await self._exchange("GET", "/invocation/next", 200)
        return Invocation(
            id=headers["lambda-runtime-aws-request-id"],
            event=event,
            deadline=int(headers["lambda-runtime-deadline-ms"]) / 1000,
            trace=headers.get("lambda-runtime-trace-id", ""),
        )

    async def restored(self) -> None:
        """Lets SnapStart take its snapshot, and returns in every process that is restored from it."""
        await self._exchange("GET", "/restore/next", 200)

    async def answer(self, invocation: Invocation, body: bytes) -> None:
        """A whole answer, as JSON."""
        await self._exchange("POST", f"/invocation/{invocation.id}/response", 202, body)

    async def fail(self, invocation: Invocation, fault: Fault) -> None:
        """An event that has no answer."""
        await self._report(f"/invocation/{invocation.id}/error", fault)

    async def fail_init(self, fault: Fault) -> None:
        await self._report("/init/error", fault)

    @contextlib.asynccontextmanager
    async def stream(self, invocation: Invocation) -> "AsyncGenerator[StreamedAnswer]":
        """An answer in pieces; it goes out when the block ends, or in `StreamedAnswer.end`."""
        async with self._connected() as connection:
            await connection.request("POST", f"{VERSION}/invocation/{invocation.id}/response", STREAMED)
            yield StreamedAnswer(connection)

    async def _report(self, path: str, fault: Fault) -> None:
        await self._exchange("POST", path, 202, msgspec.json.encode(fault), ((FAULT_TYPE, fault.error_type),))

    async def _exchange(
        self, method: str, path: str, status: int, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()
    ) -> tuple[dict[str, str], bytes]:
        async with self._connected() as connection:
            framing = (("Content-Type", "application/json"), ("Content-Length", str(len(body)))) if body else ()
            await connection.request(method, VERSION + path, (*framing, *headers))
            await connection.send(body)
            await connection.end()
            return await connection.response(status)

    @contextlib.asynccontextmanager
    async def _connected(self) -> "AsyncGenerator[_Connection]":
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            yield _Connection(f"{self._host}:{self._port}", reader, writer)
        finally:
            writer.close()


class StreamedAnswer:
    """Raises RuntimeAPIError, OSError."""

    def __init__(self, connection: "_Connection") -> None:
        self._connection = connection

    async def begin(self, prelude: bytes) -> None:
        await self._connection.send(prelude + DELIMITER)

    async def write(self, body: bytes) -> None:
        await self._connection.send(body)

    async def end(self, fault: Fault | None = None) -> None:
        """Returns when Lambda has all of it."""
        trailers: list[tuple[str, str]] = []
        if fault is not None:
            encoded = base64.b64encode(msgspec.json.encode(fault)).decode()
            trailers = [(FAULT_TYPE, fault.error_type), (FAULT_BODY, encoded)]
        await self._connection.end(trailers)
        await self._connection.response(202)


class _Connection:
    """One request and its response."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)

    async def request(self, method: str, path: str, headers: Iterable[tuple[str, str]]) -> None:
        sent = [("Host", self._host), ("Connection", "close"), *headers]
        await self._write(h11.Request(method=method, target=path, headers=sent))

    async def send(self, data: bytes) -> None:
        if data:
            await self._write(h11.Data(data=data))

    async def end(self, trailers: Iterable[tuple[str, str]] = ()) -> None:
        await self._write(h11.EndOfMessage(headers=list(trailers)))

    async def response(self, status: int) -> tuple[dict[str, str], bytes]:
        head: h11.Response | None = None
        body = bytearray()
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
        assert head is not None
        if head.status_code != status:
            raise RuntimeAPIError(f"The Runtime API answered {head.status_code}: {body[:500].decode(errors='replace')}")
        return {name.decode(): value.decode() for name, value in head.headers}, bytes(body)

    async def _event(self) -> h11.Event:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(READ_BYTES))
        except h11.RemoteProtocolError as error:
            raise RuntimeAPIError(f"The Runtime API broke off: {error}") from error
        assert isinstance(event, h11.Event)
        return event

    async def _write(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()


Handler = Callable[[Invocation, RuntimeAPI], Awaitable[None]]


def run(make: Callable[[], Handler], environment: LambdaEnvironment) -> None:
    """Serves events until Lambda ends the process. What `make` raises is reported as a failed start, and raised."""
    api = RuntimeAPI(environment.runtime_api)
    try:
        handler = make()
    except BaseException as error:
        # Nobody has asked anything yet, so the text quotes no message, and it is what the operator needs.
        asyncio.run(api.fail_init(Fault(type(error).__name__, str(error))))
        raise
    asyncio.run(_serve(api, handler, snapshot=environment.initialization_type == "snap-start"))


async def _serve(api: RuntimeAPI, handler: Handler, *, snapshot: bool) -> None:
    if snapshot:
        gc.collect()
        await api.restored()
    while True:
        invocation = await api.next()
        await handler(invocation, api)
