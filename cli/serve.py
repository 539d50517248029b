"""`wordup serve`: the self-hosted home on this machine, what the container image runs."""

from typing import Annotated

import msgspec
import typer

import server
from cli import home


def serve(
    port: Annotated[int, typer.Option(help="The port to listen on; 0 takes a free one.", min=0, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    without_keys: Annotated[bool, typer.Option("--open", help="Ask for no access key; only on this machine.")] = False,
) -> None:
    """Run the bot on this machine, with its data in WORDUP_DATA_DIR (default: data)."""
    settings = home.settings()
    if without_keys:
        settings = msgspec.structs.replace(settings, auth="open")
    server.run(settings, host, port)
