"""The self-hosted home: one process, its data in one folder. The container image runs this file, `wordup serve` too.

python server.py [--host HOST] [--port PORT]    serve
python server.py --new-key USER                 print a new access key for USER
python server.py --revoke USER                  revoke USER's access keys
"""

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import socket
import sys

import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from wordup import logs
from wordup.app import create_app
from wordup.auth import OWNER, issue_key, list_keys, revoke_keys
from wordup.bootstrap import build, open_store
from wordup.config import Settings
from wordup.errors import ConfigurationError, StoreUnavailable, WordUpError
from wordup.stores.base import Store

PURGE_SECONDS = 3600
PURGE_ROWS = 100  # one transaction's worth: a turn never waits long behind it
DRAIN_MARGIN_SECONDS = 5


def run(settings: Settings, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT, then until the running turns are recorded; port 0 takes a free one.
    Raises ConfigurationError, StoreUnavailable."""
    if settings.auth == "open" and not _is_loopback(host):
        raise ConfigurationError(
            "WORDUP_AUTH",
            f"Without keys the bot may only listen on this machine, and {host} is reached from others.",
            mend="Use --host 127.0.0.1, or serve with keys.",
        )
    with contextlib.suppress(KeyboardInterrupt), _listen(host, port) as listener:
        asyncio.run(_serve(settings, listener), loop_factory=auto_loop_factory())


async def _serve(settings: Settings, listener: socket.socket) -> None:
    bot = build(settings)
    sign_in = await _first_key(bot.store, settings)
    config = uvicorn.Config(
        create_app(bot),
        access_log=False,  # the application writes its own, without ids and secrets
        log_config=None,
        server_header=False,
        proxy_headers=False,  # it would believe whoever is on this machine: WORDUP_TRUSTED_PROXIES is ours
        timeout_graceful_shutdown=round(settings.stream_timeout_seconds) + DRAIN_MARGIN_SECONDS,
    )
    listener.listen(config.backlog)
    _say(f"Word Up! Bot answers at {_url(listener)} and stops with Ctrl-C.\n{sign_in}")
    purging = asyncio.create_task(_purge(settings))
    await uvicorn.Server(config).serve([listener])
    purging.cancel()


async def _first_key(store: Store, settings: Settings) -> str:
    """How to sign in, once the owner has a key. Nothing is made where one was ever made: revoking stays revoked."""
    if settings.auth != "key":
        return (
            "No access key is needed."
            if settings.auth == "open"
            else f"Sign in with a token of {settings.oidc_issuer}, or with an access key."
        )
    if settings.access_key:
        return "Sign in with the access key in WORDUP_ACCESS_KEY."
    if await list_keys(store):
        return "Sign in with your access key."
    key = await issue_key(store, OWNER, "first")
    return f"Your access key, shown this once (only its hash is kept, in {settings.data_dir}):\n\n    {key}\n"


async def _purge(settings: Settings) -> None:
    """SQLite does not remove expired rows by itself. On a connection of its own, so that nobody waits for it to end."""
    while True:
        store = open_store(settings)
        try:
            while await store.purge(limit=PURGE_ROWS) == PURGE_ROWS:
                pass
        except StoreUnavailable as error:
            logs.write(logging.WARNING, "purge failed", cause=type(error.__cause__).__name__)
        finally:
            await store.close()
        await asyncio.sleep(PURGE_SECONDS)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigurationError(
            "--port", f"Nobody can listen on {host}, port {port}: {error.strerror}.", mend="Choose another --port."
        ) from error
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


async def _administer(settings: Settings, *, new_key: str | None, revoke: str | None) -> None:
    store = open_store(settings)
    try:
        if new_key:
            sys.stdout.write(await issue_key(store, new_key, "personal") + "\n")
        if revoke:
            _say(f"{await revoke_keys(store, revoke)} of {revoke}'s keys revoked.")
    finally:
        await store.close()


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="server.py", description="Word Up! Bot, the self-hosted home.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="the port to listen on (default: %(default)s)")
    parser.add_argument("--new-key", metavar="USER", help="print a new access key for USER, and do not serve")
    parser.add_argument("--revoke", metavar="USER", help="revoke USER's access keys, and do not serve")
    given = parser.parse_args()
    try:
        settings = Settings.from_env()
        if given.new_key or given.revoke:
            asyncio.run(_administer(settings, new_key=given.new_key, revoke=given.revoke))
        else:
            run(settings, given.host, given.port)
    except WordUpError as error:
        _say(f"error: {error.sentence}\nmend:  {error.mend}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
