"""The ASGI application: every platform's routes, errors as problem documents, progress as server-sent events."""

import asyncio
import hmac
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serving import errors
from serving.config import Settings
from serving.envelopes import Ask, parse, render
from serving.errors import InferenceError
from serving.metrics import CONTENT_TYPE
from serving.outputs import Generated
from serving.requests import task
from serving.service import Running, Service

log = logging.getLogger(__name__)
# The first row whose class fits gives the status.
STATUS: tuple[tuple[type[InferenceError], int], ...] = (
    (errors.WrongToken, 401),
    (errors.NotFound, 404),
    (errors.MethodNotAllowed, 405),
    (errors.NotAcceptable, 406),
    (errors.BodyTooLarge, 413),
    (errors.UnsupportedMediaType, 415),
    (errors.UnsupportedTask, 422),
    (errors.OverMemoryBudget, 422),
    (errors.ResultTooLarge, 422),
    (errors.ContentBlocked, 422),
    (errors.ObjectUnavailable, 422),
    (errors.QueueFull, 429),
    (errors.RequestError, 400),
    (errors.NotReady, 503),
    (errors.OutOfMemory, 503),
    (errors.TimedOut, 504),
    (errors.InferenceError, 500),
)
# nginx's status for a caller who left; it is counted and logged, nobody receives it.
CLIENT_LEFT = 499
# The one header of ours that SageMaker gives to its caller, as CustomAttributes (InvokeEndpoint API reference).
_CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
# Proxies end connections that stay silent; a comment line is no event.
_KEEP_ALIVE_SECONDS = 15


class Problem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """RFC 9457, with a stable `code` and what to do about it (`mend`)."""

    title: str
    status: int
    detail: str
    code: str
    mend: str
    request_id: str
    pointer: str | None = None


def create_app(settings: Settings, on_failure: Callable[[BaseException], None]) -> Starlette:
    """The server for these settings; models load when it starts. `on_failure` is called when they cannot."""
    service = Service(settings)

    def loaded(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()):
            on_failure(failure)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        loading = asyncio.create_task(service.load())
        loading.add_done_callback(loaded)
        yield
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        await service.close()

    async def ready(request: Request) -> Response:
        return Response(status_code=200 if service.ready else 503)

    async def live(request: Request) -> Response:
        return Response(status_code=200 if service.alive else 503)

    async def metrics(request: Request) -> Response:
        return Response(service.metrics.render(), media_type=CONTENT_TYPE)

    predict = Predict(service)
    routes = [Route(path, predict) for path in _unique("/invocations", "/score", settings.predict_route)]
    routes += [Route(path, ready) for path in _unique("/ping", "/readyz", settings.health_route)]
    routes += [Route("/livez", live), Route("/metrics", metrics)]
    app = Starlette(
        routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http_error, Exception: _our_fault}
    )
    app.state.service = service
    return app


class Predict:
    """Answers one body. ASGI rather than a view, because it watches the connection while the model works."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        request_id, began = uuid.uuid4().hex, time.perf_counter()
        name, code, status = "none", "internal_error", 500
        try:
            self._authorise(request)
            self._service.admit()
            try:
                body = await self._body(request)
                ask = parse(body, request.headers.get("accept", ""), self._service.settings.max_queue)
                name = task(ask.requests[0][0])
                if ask.kind == "events":
                    code, status = await self._stream(ask, request_id, scope, receive, send), 200
                    return
                response = await self._until_left(receive, self._answer(ask))
                await response(scope, receive, send)
                code, status = "ok", 200
            finally:
                self._service.leave()
        except InferenceError as error:
            code, status = error.code, status_of(error)
            await problem(error, request_id)(scope, receive, send)
        except (ClientDisconnect, _Left):
            code, status = "client_left", CLIENT_LEFT
        finally:
            took = time.perf_counter() - began
            self._service.metrics.requests.labels(name, code).inc()
            self._service.metrics.seconds.labels(name).observe(took)
            log.info("request_id=%s task=%s status=%d code=%s seconds=%.3f", request_id, name, status, code, took)

    def _authorise(self, request: Request) -> None:
        if request.method != "POST":
            raise errors.MethodNotAllowed()
        expected = self._service.settings.token
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if expected and not hmac.compare_digest(given.encode(), expected.encode()):
            raise errors.WrongToken()

    async def _body(self, request: Request) -> bytes:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise errors.UnsupportedMediaType()
        most = self._service.settings.body_bytes
        too_large = errors.BodyTooLarge(f"The body is larger than {most} bytes.")
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared) > most:
            raise too_large
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise too_large
        return bytes(body)

    async def _answer(self, ask: Ask) -> Response:
        async with self._service.start(ask) as running:
            answers = await self._service.finish(ask, running)
        body, media_type = render(ask, answers)
        one = answers[0]
        # Of instances each answer tells its own; a header is too short for many.
        told = isinstance(one, Generated) and not ask.instances
        headers = {"X-Seed": str(one.seed), _CUSTOM_ATTRIBUTES: f"seed={one.seed}"} if told else None
        return Response(body, media_type=media_type, headers=headers)

    async def _until_left(self, receive: Receive, work: Awaitable[Response]) -> Response:
        """The work's result. Stops it when the caller leaves (_Left) or the time is over (TimedOut)."""
        working = asyncio.ensure_future(work)
        leaving = asyncio.create_task(_disconnect(receive))
        try:
            done, _ = await asyncio.wait(
                {working, leaving},
                timeout=self._service.settings.timeout_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if working in done:
                return working.result()
            raise _Left() if leaving in done else errors.TimedOut()
        finally:
            for one in (working, leaving):
                one.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)

    async def _stream(self, ask: Ask, request_id: str, scope: Scope, receive: Receive, send: Send) -> str:
        """Sends progress and the result; what is wrong before the work is queued is a plain problem. The end's code."""
        async with self._service.start(ask) as running:
            stream = _Events(self._service, ask, running, request_id)
            headers = {"Cache-Control": "no-store"}
            await StreamingResponse(stream, headers=headers, media_type="text/event-stream")(scope, receive, send)
            return stream.code


class _Events:
    """`step` {step, steps} for each step, then `result` or `error`. Its `code` is client_left until it has ended."""

    def __init__(self, service: Service, ask: Ask, running: Running, request_id: str) -> None:
        self._service, self._ask, self._running, self._request_id = service, ask, running, request_id
        self.code = "client_left"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        steps: asyncio.Queue[tuple[int, int] | None] = asyncio.Queue()
        self._running.jobs[0].listener = lambda step, of: steps.put_nowait((step, of))
        working = asyncio.create_task(self._service.finish(self._ask, self._running))
        working.add_done_callback(lambda _: steps.put_nowait(None))
        deadline = time.monotonic() + self._service.settings.timeout_seconds
        try:
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise errors.TimedOut()
                try:
                    step = await asyncio.wait_for(steps.get(), min(left, _KEEP_ALIVE_SECONDS))
                except TimeoutError:
                    yield b": waiting\n\n"
                    continue
                if step is None:
                    break
                yield _event("step", {"step": step[0], "steps": step[1]})
            failure = working.exception()
            if failure and not isinstance(failure, InferenceError):
                self.code = InferenceError.code
                yield _event("error", _problem(InferenceError(), self._request_id))
                raise failure
            body, _ = render(self._ask, working.result())
            self.code = "ok"
            yield b"event: result\ndata: " + body + b"\n\n"
        except InferenceError as error:
            self.code = error.code
            yield _event("error", _problem(error, self._request_id))
        finally:
            working.cancel()


class _Left(Exception):
    """The caller closed the connection."""


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(name: str, data: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))


def status_of(error: InferenceError) -> int:
    return next(status for kind, status in STATUS if isinstance(error, kind))


def problem(error: InferenceError, request_id: str) -> Response:
    """The error as application/problem+json, with Retry-After where waiting helps."""
    headers = {"X-Request-Id": request_id}
    if retry_after := getattr(error, "retry_after", None):
        headers["Retry-After"] = str(retry_after)
    if isinstance(error, errors.WrongToken):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.MethodNotAllowed):
        headers["Allow"] = "POST"
    body = msgspec.json.encode(_problem(error, request_id))
    return Response(body, status_of(error), headers, media_type="application/problem+json")


def _problem(error: InferenceError, request_id: str) -> Problem:
    return Problem(
        title=error.code.replace("_", " "),
        status=status_of(error),
        detail=error.sentence,
        code=error.code,
        mend=error.mend,
        request_id=request_id,
        pointer=getattr(error, "pointer", None),
    )


async def _http_error(request: Request, error: Exception) -> Response:
    """Starlette's own refusals (no such route, no such method) in our shape."""
    known = errors.MethodNotAllowed() if getattr(error, "status_code", 404) == 405 else errors.NotFound()
    return problem(known, uuid.uuid4().hex)


async def _our_fault(request: Request, error: Exception) -> Response:
    """A bug of ours: the server's log has the exception, the caller gets a code and a sentence."""
    return problem(InferenceError(), uuid.uuid4().hex)


def _unique(*paths: str) -> list[str]:
    return list(dict.fromkeys(paths))
