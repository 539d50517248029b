"""No test reaches beyond this machine: whoever tries gets an error that names them, and the test fails.

An audit hook sees every connection and every look-up of this process, whichever library makes it, except those of
C libraries that bring their own sockets, like gRPC's. It cannot be taken off again.
"""

import ipaddress
import os
import sys
from collections.abc import Generator
from typing import Any

import pytest

EVENTS = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"}
attempts: list[str] = []


class NetworkForbidden(RuntimeError):
    """A test, or what it tests, tried to reach another machine."""


def is_here(host: object) -> bool:
    if host is None or isinstance(host, int):  # any interface; a network link's number
        return True
    name = host.decode() if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return name in ("", "localhost") or name.endswith(".localhost") or "/" in name  # a Unix socket is a path
    return address.is_loopback or address.is_unspecified


def guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in EVENTS:
        return
    address = arguments[0] if event.startswith("socket.get") else arguments[1]
    host = address[0] if isinstance(address, tuple) else address
    if not is_here(host):
        who = os.environ.get("PYTEST_CURRENT_TEST", "collection")
        attempts.append(f"{who} tried to reach {host!r}; tests reach this machine only: start what you need here")
        raise NetworkForbidden(attempts[-1])


sys.addaudithook(guard)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Fails the test although a library may have swallowed the error as one of the network's many."""
    try:
        yield
        if attempts:
            pytest.fail("\n".join(attempts), pytrace=False)
    finally:
        attempts.clear()
