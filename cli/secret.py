"""`wordup secret`: the provider's key and the keys that sign sessions, from hand to secret store. They pass through no
template, no state, no argument and no environment."""

import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.text import Text

from cli import console, home, rotation
from cli.deploy import AsJSON, WithName
from cli.places import To
from cli.rotation import Kept
from cli.secret_file import SecretFile
from cli.steps import Steps
from infra import spec
from infra.targets import Target, open_target
from wordup.bootstrap import signing_reference
from wordup.config import variable
from wordup.errors import ConfigurationError
from wordup.keyring import CACHE_SECONDS

MAX_CHARACTERS = 8_192

app = typer.Typer(help="The provider's key, and the keys that sign sessions.", no_args_is_help=True)


class DeployedSecret:
    """One field of a deployment's secret."""

    def __init__(self, target: Target, field: str) -> None:
        self._target = target
        self._field = field

    def read(self) -> str:
        value = self._target.read_secret().get(self._field, "")
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()

    def write(self, text: str) -> None:
        value: Any = msgspec.json.decode(text) if text.startswith("{") else text
        self._target.write_secret({**self._target.read_secret(), self._field: value})


@app.command("set")
def set_(
    name: Annotated[Literal["provider_key"], typer.Argument(help="Which one.")],
    from_file: Annotated[
        Path | None, typer.Option(help="Read it from a file, instead of from standard input or a prompt.")
    ] = None,
    to: To = "home",
    deployment: WithName = None,
    as_json: AsJSON = False,
) -> None:
    """Put the provider's key where the bot reads it; it is used within five minutes."""
    value = _value(from_file)
    _kept(to, deployment, name).write(value)
    if as_json:
        console.document({"secret": name, "used_within_seconds": int(CACHE_SECONDS)})
    else:
        console.screen.print(f"Stored. Every instance uses it within {CACHE_SECONDS / 60:.0f} minutes.")


@app.command()
def rotate(
    wait: Annotated[
        bool, typer.Option(help="Wait five minutes until the new key may sign; without it, run the command again then.")
    ] = True,
    end_sessions: Annotated[
        bool, typer.Option("--end-sessions", help="After a leak: drop all keys at once; everyone signs in again.")
    ] = False,
    to: To = "home",
    deployment: WithName = None,
    as_json: AsJSON = False,
) -> None:
    """Replace the key that signs sessions. Nobody is logged out."""
    kept = _kept(to, deployment, "signing")
    if end_sessions:
        console.ask_leave("End every session?")
    with Steps(console.progress) as report:
        done = rotation.end_sessions(kept, report) if end_sessions else rotation.rotate(kept, report, wait=wait)
    if as_json:
        console.document(done)
        return
    if done.state == "published":
        console.screen.print(
            Text(f"Key {done.kid} is published. Run it again after {done.signs_after}: it then signs.")
        )
    else:
        console.screen.print(Text(f"Key {done.kid} signs."))
    if done.removed:
        console.screen.print(Text(f"Removed: {', '.join(done.removed)}."))


def _kept(to: str, deployment: str | None, field: str) -> Kept:
    if to != "home":
        return DeployedSecret(open_target(to, spec.load(name=deployment)), field)
    settings = home.settings()
    if field == "signing":
        return SecretFile(signing_reference(settings), variable("signing_key_ref"))
    if not settings.provider_key_ref:
        raise ConfigurationError(
            variable("provider_key_ref"),
            "This home keeps no provider's key: it takes the one in OPENAI_API_KEY.",
            mend="Name a file for it in WORDUP_PROVIDER_KEY_REF, as file:/path, and start the home with that.",
        )
    return SecretFile(settings.provider_key_ref, variable("provider_key_ref"))


def _value(from_file: Path | None) -> str:
    try:
        if from_file:
            text = from_file.read_text("utf-8")
        elif sys.stdin.isatty():
            text = getpass("The key: ")
        else:
            text = sys.stdin.read(MAX_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("--from-file", f"The key cannot be read from there: {error}.") from error
    value = text.strip()
    if not 0 < len(value) <= MAX_CHARACTERS or not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError(
            "--from-file", "That is no key: it is empty, too long, or more than one word.", mend="Give the key alone."
        )
    return value
