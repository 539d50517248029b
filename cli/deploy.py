"""`wordup deploy`, `outputs`, `plan`, `destroy`: the bot on a cloud, or on the one that is embedded here."""

import sys
import time
from typing import Annotated

import msgspec
import typer
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli import console, first_question
from cli.answer import Block, printable
from cli.steps import Steps
from infra import spec
from infra.errors import DeploymentError
from infra.spec import Profile
from infra.targets import TARGETS, Change, Resource, Target, open_target


def _known(target: str) -> str:
    if target not in TARGETS:
        raise typer.BadParameter(f"{target!r} is none of {', '.join(TARGETS)}.")
    return target


To = Annotated[
    str, typer.Option(callback=_known, metavar="|".join(TARGETS), help="Where: on this machine, or in which cloud.")
]
WithProfile = Annotated[Profile | None, typer.Option("--profile", help="Instead of wordup.toml's.")]
WithName = Annotated[str | None, typer.Option("--name", help="The deployment's name, instead of wordup.toml's.")]
AsJSON = Annotated[bool, typer.Option("--json", help="One JSON document.")]


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """What `deploy --json` prints. In `oidc` mode no access key is left."""

    url: str
    access_key_ref: str | None
    target: str
    seconds: float
    answer: str


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """`bill` is null until there is an estimator."""

    resources: list[Resource]
    bill: None = None


def register(app: typer.Typer) -> None:
    for command in (deploy, outputs, plan, destroy):
        app.command()(command)


def deploy(
    to: To = "local",
    profile: WithProfile = None,
    name: WithName = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before something that costs money.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Deploy the bot, and ask it a question."""
    started = time.monotonic()
    deployment = spec.load(name=name, profile=profile)
    target = open_target(to, deployment)
    with Steps(console.progress) as report:
        report.step("Checking")
        target.check()
        changes = target.changes(report)
    _show_changes(changes)
    if target.is_billed and not yes:
        console.ask_leave("This creates resources that cost money; how much is not estimated yet. Deploy?")
    with Steps(console.progress) as report:
        target.deploy(report)
        url = target.outputs()["url"]
        key, answer = first_question.ask(target, url, deployment.bot.auth, report)
    done = Deployed(
        url=url,
        access_key_ref=key and target.secret_reference("access_key"),
        target=to,
        seconds=round(time.monotonic() - started, 1),
        answer=answer,
    )
    if as_json:
        console.document(done)
    else:
        show_deployed(done, key)


def outputs(to: To = "local", name: WithName = None, as_json: AsJSON = False) -> None:
    """Show what is deployed. The access key itself only of this machine; elsewhere, where it is kept."""
    target = open_target(to, spec.load(name=name))
    found = _deployed(target)
    if key := target.read_secret().get("access_key"):
        found["access_key"] = target.secret_reference("access_key") if target.is_billed else key
    if as_json:
        console.document(found)
        return
    for field, value in found.items():
        console.screen.print(Text(f"{field:12}{value}"), soft_wrap=True)


def plan(
    to: To = "local",
    profile: WithProfile = None,
    name: WithName = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the account what is there.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Show what would be deployed, and what would change; touches nothing."""
    target = open_target(to, spec.load(name=name, profile=profile))
    changes = None
    with Steps(console.progress) as report:
        resources = target.plan(report, offline=offline)
        if not offline:
            changes = target.changes(report)
    if as_json:
        console.document(Planned(resources=resources))
        return
    table = Table("resource", "type", box=None, pad_edge=False)
    for resource in resources:
        table.add_row(resource.name, resource.type)
    console.screen.print(table)
    if changes is not None:
        _show_changes(changes)
    console.progress.print("The bill is not estimated yet.")


def destroy(
    to: To = "local",
    name: WithName = None,
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Also what production keeps: conversations, secret, logs.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Remove the deployment, and show what is left."""
    deployment = spec.load(name=name)
    target = open_target(to, deployment)
    if target.is_billed or delete_data:
        console.ask_leave(f"Remove {deployment.name}{' and its data, for ever' if delete_data else ''}?")
    with Steps(console.progress) as report:
        report.step("Looking at what is there")
        removal = target.destroy(report, delete_data=delete_data)
    if as_json:
        console.document(removal)
    else:
        for name_ in removal.removed:
            console.screen.print(Text(f"removed  {name_}"))
        for kept in removal.kept:
            console.screen.print(Text(f"kept     {kept.name}: {kept.why}"))
        console.screen.print(Text(f"left     {', '.join(removal.left) or 'nothing'}"))
    if removal.left:
        raise DeploymentError(
            f"Something is left: {', '.join(removal.left)}.", mend="Run it again; if it stays, remove it by hand."
        )


def _deployed(target: Target) -> dict[str, str]:
    found = dict(target.outputs())
    if not found:
        raise DeploymentError("Nothing is deployed there.", mend="`wordup deploy` deploys; --to and --name choose.")
    return found


def _show_changes(changes: list[Change]) -> None:
    if not changes:
        console.progress.print("Nothing changes.")
        return
    mark = {"add": "+", "change": "~", "remove": "-"}
    for change in changes:
        console.progress.print(Text(f"{mark[change.action]} {change.name} ({change.type})"), soft_wrap=True)


def show_deployed(done: Deployed, key: str | None) -> None:
    """`key` is shown of this machine's own cloud alone."""
    console.screen.print(Panel(Block(printable(done.answer)), title=Text(first_question.QUESTION)))
    console.screen.print(Text(f"url         {done.url}"), soft_wrap=True)
    if key is None:
        return
    if done.target != "local":
        console.screen.print(Text(f"access key  kept as {done.access_key_ref}"), soft_wrap=True)
        return
    console.screen.print(Text(f"access key  {key}"), soft_wrap=True)
    console.screen.print(Text(f"talk to it  {sys.argv[0]} chat --url {done.url} --key {key}"), soft_wrap=True)
