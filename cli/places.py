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

    async def run(settings: Settings) -> T:
        store = open_store(settings)
        try:
            return await use(store, settings)
        finally:
            await store.close()

    if place == "home":
        return asyncio.run(run(home.settings()))
    with targets.open_target(place, spec.load(name=deployment)).connected() as settings:
        return asyncio.run(run(settings))
