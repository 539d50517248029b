"""Google Cloud Functions: functions-framework calls what a handler gives it as the response, with the server's own
receive and send. So the application itself is the response; it streams, and it sees a caller leave."""

from typing import Any

import functions_framework.aio
from starlette.requests import Request

from wordup.app import create_app
from wordup.bootstrap import build
from wordup.config import Settings

application = create_app(build(Settings.from_env()))


@functions_framework.aio.http
async def main(_: Request) -> Any:
    return application
