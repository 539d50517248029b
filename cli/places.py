"""Whose data an operator's command is about: the self-hosted home's, or a deployment's, wherever that is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from cli import home
from infra import spec, targets
from wordup.bootstrap import open_store
from wordup.config import Settings
from wordup.stores.base import Store

PLACES = ("home", *targets.TARGETS)


def known(place: str) -> str:
    if place not in PLACES:
        raise typer.BadParameter(f"{place!r} is none of {', '.join(PLACES)}.")
    return place


To = Annotated[
    str,
    typer.Option(callback=known, metavar="|".join(PLACES), help="Whose: the self-hosted home's, or a deployment's."),
]


def on_store[T](place: str, deployment: str | None, use: Callable[[Store, Settings], Awaitable[T]]) -> T:
    """What `use` makes of the store there, which is closed after it."""
    if place == "home":
        return _opened(home.settings(), use)
    return on_target(targets.open_target(place, spec.load(name=deployment)), use)


def on_target[T](target: targets.Target, use: Callable[[Store, Settings], Awaitable[T]]) -> T:
    with target.connected() as settings:
        return _opened(settings, use)


def _opened[T](settings: Settings, use: Callable[[Store, Settings], Awaitable[T]]) -> T:
    async def run() -> T:
        store = open_store(settings)
        try:
            return await use(store, settings)
        finally:
            await store.close()

    return asyncio.run(run())
