"""Azure Functions: every request through the worker's HTTP streams, and the hourly purge, which Table Storage needs."""

import functools
import logging
import time

import azure.functions
from azurefunctions.extensions.http.fastapi import (  # pyright: ignore[reportMissingTypeStubs] - has types, no marker
    Request,
    StreamingResponse,
    web,
)

from wordup.app import create_app
from wordup.bootstrap import build
from wordup.bridges import respond
from wordup.config import Settings

# Those of the worker's server. It refuses others by itself, and the host would wait for a call that never began.
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PURGE_ROWS = 5_000
PURGE_SECONDS = 240  # what is left then waits for the next hour

# The worker's server would log every path, and paths hold ids. It sets its loggers up later, but leaves filters alone.
logging.getLogger("uvicorn.access").addFilter(lambda _: False)
# Nor may it answer /openapi.json and /docs with pages of its own.
web.FastAPI = functools.partial(web.FastAPI, openapi_url=None)
bot = build(Settings.from_env())
application = create_app(bot)
app = azure.functions.FunctionApp(http_auth_level=azure.functions.AuthLevel.ANONYMOUS)  # the bot's keys are its own


@app.route(route="{*path}", methods=METHODS)
async def main(req: Request) -> StreamingResponse:
    return await respond(application, req)


@app.timer_trigger(schedule="0 17 * * * *", arg_name="timer")
async def purge(timer: azure.functions.TimerRequest) -> None:  # noqa: ARG001 - the binding's name
    until = time.monotonic() + PURGE_SECONDS
    while await bot.store.purge(limit=PURGE_ROWS) == PURGE_ROWS and time.monotonic() < until:
        pass
