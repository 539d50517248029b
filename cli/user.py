"""`wordup user`: a person's access keys, what they used and said, and their erasure, on the store of any home."""

import time
from typing import Annotated

import typer
from rich.table import Table

from cli import console
from cli.deploy import AsJSON, WithName
from cli.places import To, on_store
from wordup import keys, markdown, schemas
from wordup.auth import ISSUER, User, issue_key, list_keys, revoke_keys
from wordup.config import Settings
from wordup.conversations import Conversations
from wordup.erasure import Erasure
from wordup.errors import NotFound
from wordup.stores.base import Store
from wordup.usage import UsageBook

Name = Annotated[str, typer.Argument(help="The person, as you call them.")]

FromIssuer = Annotated[
    str, typer.Option("--issuer", help="Who names them: this bot by its keys, or the URL of an OpenID Connect issuer.")
]

app = typer.Typer(help="Who may ask, and what is stored about them.", no_args_is_help=True)


@app.command()
def add(
    name: Name,
    key_name: Annotated[str, typer.Option(help="Tells this key from the person's others.")] = "personal",
    to: To = "home",
    deployment: WithName = None,
    as_json: AsJSON = False,
) -> None:
    """Make an access key, and print it this once."""
    key = on_store(to, deployment, lambda store, _: issue_key(store, name, key_name))
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
    revoked = on_store(to, deployment, lambda store, _: revoke_keys(store, name, key_name))
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
    found = on_store(to, deployment, lambda store, _: list_keys(store))
    if as_json:
        rows = [{"user": key.user, "name": key.name, "created": keys.rfc3339(key.created)} for key in found]
        console.document([row | {"revoked": key.revoked} for row, key in zip(rows, found, strict=True)])
        return
    table = Table("person", "key", "made", "state", box=None, pad_edge=False)
    for key in found:
        table.add_row(key.user, key.name, keys.rfc3339(key.created), "revoked" if key.revoked else "")
    console.screen.print(table)


@app.command()
def usage(
    name: Name, issuer: FromIssuer = ISSUER, to: To = "home", deployment: WithName = None, as_json: AsJSON = False
) -> None:
    """Show what a person has used today and this month, and their limits."""

    async def run(store: Store, settings: Settings) -> schemas.UsageOut:
        return schemas.usage(await UsageBook(store, settings).report(await _person(store, name, issuer)))

    used = on_store(to, deployment, run)
    if as_json:
        console.document(used)
        return
    table = Table("", "turns", "tokens in", "tokens out", "US dollars", box=None, pad_edge=False)
    for when, period in (("today", used.today), ("this month", used.month)):
        numbers = (period.requests, period.input_tokens, period.output_tokens)
        table.add_row(when, *map(str, numbers), period.cost_usd)
    table.add_row("limit", f"{used.limits.requests_per_minute} a minute", "", "", f"{used.limits.daily_usd} a day")
    console.screen.print(table)


@app.command()
def export(
    name: Name, issuer: FromIssuer = ISSUER, to: To = "home", deployment: WithName = None, as_json: AsJSON = False
) -> None:
    """Print everything that is stored about a person: as Markdown, or with --json what GET /v1/me/export gives."""

    async def run(store: Store, settings: Settings) -> tuple[schemas.ExportOut, str]:
        user = await _person(store, name, issuer)
        found = [each async for each in Conversations(store).export_all(user)]
        out = schemas.user_export(user.id, time.time(), await UsageBook(store, settings).report(user), found)
        return out, "\n".join(markdown.conversation(*each) for each in found)

    out, text = on_store(to, deployment, run)
    if as_json:
        console.document(out)
    else:
        print(text, end="")


@app.command()
def erase(
    name: Name, issuer: FromIssuer = ISSUER, to: To = "home", deployment: WithName = None, as_json: AsJSON = False
) -> None:
    """Erase everything that is stored about a person, their access keys included; nothing brings it back."""

    async def run(store: Store, settings: Settings) -> None:
        await Erasure(store, settings).erase(await _person(store, name, issuer))

    console.ask_leave(f"Erase everything about {name}, for ever?")
    on_store(to, deployment, run)
    if as_json:
        console.document({"user": name, "erased": True})
    else:
        console.screen.print(f"Nothing about {name} is left here. What was exported before still has it.", markup=False)


async def _person(store: Store, name: str, issuer: str) -> User:
    """Raises NotFound: a name that was mistyped must not look like a person who said nothing."""
    user = User(name, keys.user(issuer, name))
    if not (await store.query(user.pk, "", limit=1)).rows:
        raise NotFound(f"Nothing is stored about {name}.", mend="`wordup user list` shows who has a key.")
    return user
