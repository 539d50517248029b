"""The ASGI application: routes, pages, errors as problem documents, and what surrounds every request."""

import contextlib
import functools
import logging
import re
import time
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wordup import __version__, completions, errors, logs, openapi, pages, problems
from wordup.bootstrap import Bot
from wordup.ids import ulid
from wordup.requests import credentials
from wordup.routes import JSON, table

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_SECURITY = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
LOOPBACK_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
CALLER_HEADERS = ["Authorization", "Content-Type", "Idempotency-Key", "X-Api-Key"]


def create_app(bot: Bot) -> Starlette:
    """Serves one bot under any path prefix. Connects nothing."""
    logs.configure(bot.settings.log_level)
    routes = table(bot)

    @functools.cache  # at the first request: a cold start pays for what it serves
    def described() -> bytes:
        return msgspec.json.encode(openapi.document(routes, __version__))

    async def specification(_: Request) -> Response:
        return Response(described(), media_type="application/json")

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        await bot.close()

    return Starlette(
        routes=[
            *(Route(route.path, route.handler, methods=[route.method]) for route in routes),
            Route("/openapi.json", specification),
            *_metrics(bot),
            *pages.routes(bot.auth.sign_in_origins),
        ],
        middleware=_middleware(bot),
        exception_handlers={
            errors.WordUpError: _refuse,
            HTTPException: _refuse_http,
            Exception: _refuse_bug,
        },
        lifespan=lifespan,
    )


def _metrics(bot: Bot) -> list[Route]:
    """For the operator's Prometheus; no part of the interface that callers have."""
    if (metrics := bot.metrics) is None:
        return []

    async def expose(request: Request) -> Response:
        await bot.auth.check_operator(credentials(request, bot.settings.trusted_proxies))
        content, media_type = metrics.exposed(request.headers.get("accept", ""))
        return Response(content, media_type=media_type)

    return [Route("/metrics", expose)]


def _middleware(bot: Bot) -> list[Middleware]:
    surrounding = [Middleware(_Surroundings)]
    if origins := [origin.strip() for origin in bot.settings.allowed_origins.split(",") if origin.strip()]:
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        surrounding.append(
            Middleware(CORSMiddleware, allow_origins=origins, allow_methods=methods, allow_headers=CALLER_HEADERS)
        )
    if bot.settings.auth == "open":
        # Without a key, a page elsewhere could reach the bot by a name that it points at this machine.
        surrounding.append(Middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK_HOSTS))
    return surrounding


class _Surroundings:
    """Gives a request its id, every response its security headers, and the log its line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request_id = scope.setdefault("state", {})["request_id"] = ulid()
        served = logs.SERVED.set({"request_id": request_id, **_trace(scope)})
        began = time.perf_counter()
        status = 500

        async def surrounded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name for name, _ in message["headers"]}
                added = (header for header in _SECURITY if header[0] not in own)
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *added]
            await send(message)

        try:
            await self._app(scope, receive, surrounded)
        finally:
            route: Any = scope.get("route")
            logs.write(
                logging.INFO,
                "request",
                method=scope["method"],
                route=getattr(route, "path", None),  # not the path: ids stay out of the log
                status=status,
                milliseconds=round((time.perf_counter() - began) * 1000, 1),
            )
            logs.SERVED.reset(served)


def _trace(scope: Scope) -> dict[str, str]:
    """The trace that the platform puts a request into, W3C's or X-Ray's; anything else is dropped."""
    headers = dict(scope["headers"])
    for header, form in _TRACES.items():
        if found := form.search(headers.get(header, b"").decode("latin-1")):
            return {"trace_id": found[1]}
    return {}


_TRACES = {
    b"traceparent": re.compile("^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}"),
    b"x-amzn-trace-id": re.compile("Root=(1-[0-9a-f]{8}-[0-9a-f]{24})(?:;|$)"),
}


def _problem(request: Request, error: errors.WordUpError) -> Response:
    content, headers = problems.of(error, problems.request_id(request)), problems.headers(error)
    if getattr(request.scope.get("route"), "path", None) == completions.PATH:
        if isinstance(error, errors.BudgetExceeded):  # OpenAI's clients would ask again at once
            headers["x-should-retry"] = "false"
        return JSON(completions.error(content), content.status, headers)
    return JSON(content, content.status, headers, problems.MEDIA_TYPE)


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.WordUpError)
    if not isinstance(error, errors.RequestError):
        cause = error.__cause__
        logs.write(
            logging.WARNING,
            "refused",
            code=error.code,
            cause=type(cause).__name__ if cause else None,
        )
    return _problem(request, error)


async def _refuse_http(request: Request, error: Exception) -> Response:
    """The framework's own refusals: no such path, no such method."""
    assert isinstance(error, HTTPException)
    response = _problem(request, errors.MethodNotAllowed() if error.status_code == 405 else errors.NotFound())
    response.headers.update(error.headers or {})
    if error.status_code == 405:  # the framework names the methods of one route, and a path may have several
        matching = [route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE]
        response.headers["allow"] = ", ".join(sorted({method for route in matching for method in route.methods}))
    return response


async def _refuse_bug(request: Request, error: Exception) -> Response:
    logs.write(logging.ERROR, "bug", request_id=problems.request_id(request), exception=error)
    return _problem(request, errors.WordUpError())
