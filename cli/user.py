"""`wordup user`: who may ask. A person's access keys, on the store of any home."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
from rich.table import Table

from cli import console, home
from cli.deploy import AsJSON, WithName
from infra import spec, targets
from wordup import keys
from wordup.auth import issue_key, list_keys, revoke_keys
from wordup.bootstrap import open_store
from wordup.config import Settings
from wordup.errors import NotFound
from wordup.stores.base import Store

PLACES = ("home", *targets.TARGETS)


def _known(place: str) -> str:
    if place not in PLACES:
        raise typer.BadParameter(f"{place!r} is none of {', '.join(PLACES)}.")
    return place


Name = Annotated[str, typer.Argument(help="The person, as you call them.")]
To = Annotated[
    str,
    typer.Option(
        callback=_known, metavar="|".join(PLACES), help="Whose people: the self-hosted home's, or a deployment's."
    ),
]

app = typer.Typer(help="Who may ask: personal access keys.", no_args_is_help=True)


@app.command()
def add(
    name: Name,
    key_name: Annotated[str, typer.Option(help="Tells this key from the person's others.")] = "personal",
    to: To = "home",
    deployment: WithName = None,
    as_json: AsJSON = False,
) -> None:
    """Make an access key, and print it this once."""
    key = _on_store(to, deployment, lambda store: issue_key(store, name, key_name))
    if as_json:
        console.document({"user": name, "name": key_name, "access_key": key})
        return
    console.progress.print(f"{name}'s access key, shown this once; only its hash is kept:", markup=False)
    print(key)


@app.command()
def revoke(
    name: Name,
    key_name: Annotated[str | None, typer.Option(help="Only the key of this name.")] = None,
    to: To = "home",
    deployment: WithName = None,
    as_json: AsJSON = False,
) -> None:
    """Revoke a person's access keys; what they said stays."""
    revoked = _on_store(to, deployment, lambda store: revoke_keys(store, name, key_name))
    if not revoked:
        called = f" called {key_name}" if key_name else ""
        raise NotFound(f"{name} has no key{called} that could be revoked.", mend="`wordup user list` shows the keys.")
    if as_json:
        console.document({"user": name, "revoked": revoked})
    else:
        console.screen.print(f"Revoked {revoked} of {name}'s keys.", markup=False)


@app.command("list")
def list_(to: To = "home", deployment: WithName = None, as_json: AsJSON = False) -> None:
    """Show every access key's person, name and state; never the key."""
    found = _on_store(to, deployment, list_keys)
    if as_json:
        rows = [{"user": key.user, "name": key.name, "created": keys.rfc3339(key.created)} for key in found]
        console.document([row | {"revoked": key.revoked} for row, key in zip(rows, found, strict=True)])
        return
    table = Table("person", "key", "made", "state", box=None, pad_edge=False)
    for key in found:
        table.add_row(key.user, key.name, keys.rfc3339(key.created), "revoked" if key.revoked else "")
    console.screen.print(table)


def _on_store[T](to: str, deployment: str | None, use: Callable[[Store], Awaitable[T]]) -> T:
    async def run(settings: Settings) -> T:
        store = open_store(settings)
        try:
            return await use(store)
        finally:
            await store.close()

    if to == "home":
        return asyncio.run(run(home.settings()))
    with targets.open_target(to, spec.load(name=deployment)).connected() as settings:
        return asyncio.run(run(settings))
