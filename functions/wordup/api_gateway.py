"""Between API Gateway's REST API and the application: a proxy event becomes an ASGI request, its response goes out in
pieces (the integration's response transfer mode STREAM) or whole (BUFFERED, the embedded cloud's only one).

https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html
"""

import asyncio
import base64
import contextlib
import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Protocol
from urllib.parse import unquote, urlencode

import msgspec
from starlette.types import ASGIApp, Message, Scope

from wordup import logs, problems, sse
from wordup.errors import OutOfTime, WordUpError
from wordup.lambda_runtime import Fault, Invocation, RuntimeAPI, StreamedAnswer

# Before Lambda ends the process: for the last words to the caller, and for what has come of a turn to be recorded.
MARGIN_SECONDS = 2.0
TRACE = "x-amzn-trace-id"

Headers = Iterable[tuple[bytes, bytes]]


class _Identity(msgspec.Struct, frozen=True, rename="camel"):
    source_ip: str = ""


class _Context(msgspec.Struct, frozen=True, rename="camel"):
    """`path` is the request's own, with the stage or the custom domain's mapping in front."""

    path: str
    identity: _Identity = _Identity()


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    """`resource` is the path with its parameters in braces, `/{proxy+}` where the integration takes every path."""

    resource: str
    http_method: str
    request_context: _Context
    path_parameters: dict[str, str] | None = None
    multi_value_headers: dict[str, list[str]] | None = None
    multi_value_query_string_parameters: dict[str, list[str]] | None = None
    body: str | None = None
    is_base64_encoded: bool = False


class Bridge:
    """Hands Lambda's events to the application. `streams`: whether the integration's mode is STREAM."""

    def __init__(self, app: ASGIApp, *, streams: bool) -> None:
        self._app = app
        self._streams = streams

    async def __call__(self, invocation: Invocation, api: RuntimeAPI) -> None:
        try:
            event = msgspec.json.decode(invocation.event, type=_Event)
        except msgspec.DecodeError as error:  # no event of API Gateway's
            logs.write(logging.ERROR, "unknown_event", cause=str(error))
            await api.fail(invocation, Fault("UnknownEvent", "This is no proxy event of a REST API."))
            return
        if self._streams:
            async with api.stream(invocation) as answer:
                await self._respond(invocation, event, _Streamed(answer))
        else:
            await self._respond(invocation, event, _Whole(invocation, api))

    async def _respond(self, invocation: Invocation, event: _Event, answer: "_Answer") -> None:
        scope, body, exchange = _scope(event, invocation), _body(event), _Exchange(answer)

        async def receive() -> Message:
            nonlocal body
            if body is None:
                await exchange.over.wait()  # a caller who leaves is not reported on Lambda
                return {"type": "http.disconnect"}
            message, body = {"type": "http.request", "body": body}, None
            return message

        async def run() -> None:
            await self._app(scope, receive, exchange.send)

        running = asyncio.create_task(run())
        await asyncio.wait({running}, timeout=invocation.remaining() - MARGIN_SECONDS)
        if not running.done():
            running.cancel()
            await asyncio.wait({running}, timeout=MARGIN_SECONDS / 2)
            error: BaseException | None = OutOfTime()
            logs.write(logging.ERROR, "out_of_time", request_id=_request_id(scope, invocation))
        else:
            error = running.exception()
        if error is not None and not exchange.over.is_set():
            await exchange.fail(error, _request_id(scope, invocation))


class _Answer(Protocol):
    """How an answer leaves the process."""

    async def begin(self, status: int, headers: Headers) -> None: ...

    async def write(self, body: bytes) -> None: ...

    async def end(self, fault: Fault | None) -> None: ...


class _Exchange:
    """One response of the application's, on its way out."""

    def __init__(self, answer: _Answer) -> None:
        self.over = asyncio.Event()
        self._answer = answer
        self._began = False
        self._is_event_stream = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: list[tuple[bytes, bytes]] = message["headers"]
            self._began = True
            self._is_event_stream = any(
                name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers
            )
            await self._answer.begin(message["status"], headers)
        else:
            await self._answer.write(message.get("body", b""))
            if not message.get("more_body"):
                await self._end(None)

    async def fail(self, error: BaseException, request_id: str) -> None:
        """The application's own handlers have answered and logged what they could: this is what they could not."""
        told = error if isinstance(error, WordUpError) else WordUpError()
        problem = problems.of(told, request_id)
        if not self._began:
            headers = {"content-type": problems.MEDIA_TYPE, **problems.headers(told)}
            await self._answer.begin(problem.status, [(n.encode(), v.encode()) for n, v in headers.items()])
            await self._answer.write(msgspec.json.encode(problem))
        elif self._is_event_stream:
            await self._answer.write(sse.error(problem))
        await self._end(Fault(type(error).__name__, "The log has the request's line and what it failed of."))

    async def _end(self, fault: Fault | None) -> None:
        await self._answer.end(fault)
        self.over.set()


class _Streamed:
    def __init__(self, answer: StreamedAnswer) -> None:
        self._answer = answer

    async def begin(self, status: int, headers: Headers) -> None:
        single, many, cookies = _grouped(headers)
        prelude: dict[str, Any] = {"statusCode": status, "headers": single}
        if many:
            prelude["multiValueHeaders"] = many
        if cookies:
            prelude["cookies"] = cookies
        await self._answer.begin(msgspec.json.encode(prelude))

    async def write(self, body: bytes) -> None:
        await self._answer.write(body)

    async def end(self, fault: Fault | None) -> None:
        await self._answer.end(fault)


class _Whole:
    """API Gateway would take an error of the function for one of its own: what could be told the caller is told."""

    def __init__(self, invocation: Invocation, api: RuntimeAPI) -> None:
        self._invocation = invocation
        self._api = api
        self._head: dict[str, Any] = {}
        self._body = bytearray()

    async def begin(self, status: int, headers: Headers) -> None:
        values: dict[str, list[str]] = defaultdict(list)
        for name, value in headers:
            values[name.decode("latin-1")].append(value.decode("latin-1"))
        self._head = {"statusCode": status, "multiValueHeaders": values}

    async def write(self, body: bytes) -> None:
        self._body += body

    async def end(self, fault: Fault | None) -> None:  # noqa: ARG002 - see the class
        text: str | None = None
        with contextlib.suppress(UnicodeDecodeError):
            text = self._body.decode()
        encoded = {"body": base64.b64encode(self._body).decode() if text is None else text}
        whole = {**self._head, **encoded, "isBase64Encoded": text is None}
        await self._api.answer(self._invocation, msgspec.json.encode(whole))


def _grouped(headers: Headers) -> tuple[dict[str, str], dict[str, list[str]], list[str]]:
    """Headers that stand once, those that stand several times, and cookies, as the prelude has them."""
    values: dict[str, list[str]] = defaultdict(list)
    for name, value in headers:
        values[name.decode("latin-1").lower()].append(value.decode("latin-1"))
    cookies = values.pop("set-cookie", [])
    single = {name: found[0] for name, found in values.items() if len(found) == 1}
    return single, {name: found for name, found in values.items() if len(found) > 1}, cookies


def _scope(event: _Event, invocation: Invocation) -> Scope:
    """A REST API hands paths on as they were sent, percent-encoded: one that it sent is
    https://github.com/hotsock/voker/blob/main/vokerhttp/testdata/apigwv1-request.json"""
    path = event.resource
    for name, value in (event.path_parameters or {}).items():
        path = path.replace(f"{{{name}+}}", value).replace(f"{{{name}}}", value)
    root = event.request_context.path.removesuffix(path)
    sent = {name.lower(): values for name, values in (event.multi_value_headers or {}).items()}
    if invocation.trace:
        sent[TRACE] = [invocation.trace]  # the function's own segment, where the event has the API's
    host, _, port = sent.get("host", ["localhost"])[0].partition(":")
    scheme = sent.get("x-forwarded-proto", ["https"])[0]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": event.http_method,
        "scheme": scheme,
        "path": unquote(root + path),
        "raw_path": (root + path).encode(),
        "root_path": unquote(root),
        "query_string": urlencode(event.multi_value_query_string_parameters or {}, doseq=True).encode(),
        "headers": [(name.encode(), value.encode()) for name, values in sent.items() for value in values],
        "client": (event.request_context.identity.source_ip, 0),
        "server": (host, int(port) if port.isdecimal() else {"https": 443}.get(scheme, 80)),
        "state": {},
    }


def _body(event: _Event) -> bytes | None:
    body = event.body or ""
    return base64.b64decode(body) if event.is_base64_encoded else body.encode()


def _request_id(scope: Scope, invocation: Invocation) -> str:
    return scope["state"].get("request_id", invocation.id)
