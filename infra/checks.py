"""One finding of a preflight, and those that Google Cloud and Azure share: the operator's tools and Pulumi."""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from infra.command import INSTALL, run
from infra.errors import DeploymentError
from infra.spec import DeploymentSpec
from wordup.errors import WordUpError


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """`mend` is empty where `ok`."""

    name: str
    ok: bool
    found: str
    mend: str = ""


def asked(name: str, question: Callable[[], str]) -> Check:
    """A check that fails with the error's sentence and mend, or finds what the question returns."""
    try:
        return Check(name=name, ok=True, found=question())
    except WordUpError as error:
        return Check(name=name, ok=False, found=error.sentence, mend=error.mend)


def tool(name: str, arguments: list[str], pattern: str, least: tuple[int, int]) -> Check:
    """Whether a command is there, in `least` or a later version, which is the pattern's two groups."""

    def version() -> str:
        told = run([name, *arguments])
        found = re.search(pattern, told)
        wanted = ".".join(map(str, least))
        if found is None or (int(found[1]), int(found[2])) < least:
            raise DeploymentError(
                f"{told.strip()[:80]} is older than {wanted}.", mend=f"Install a newer one: {INSTALL[name]}"
            )
        return found[0]

    return asked(name, version)


def answer(command: list[str]) -> Any:
    """The JSON that a tool prints. Raises DeploymentError."""
    return json.loads(run(command))


def pulumi(spec: DeploymentSpec) -> Iterator[Check]:
    """Pulumi's command line, where it keeps the state, and what opens the state's secrets."""
    cli = tool("pulumi", ["version"], r"v(\d+)\.(\d+)\.\d+", (3, 150))
    yield cli
    if not cli.ok:
        return
    backend = {"PULUMI_BACKEND_URL": spec.pulumi.backend} if spec.pulumi.backend else {}

    def login() -> str:
        told = json.loads(run(["pulumi", "whoami", "--json", "--non-interactive"], {**os.environ, **backend}))
        return f"{told['user']} at {told['url']}"

    state = asked("Pulumi's state", login)
    yield (
        state
        if state.ok
        else msgspec.structs.replace(state, mend="`pulumi login`, or set backend under [pulumi] in wordup.toml.")
    )
    if state.ok and "app.pulumi.com" not in state.found and not spec.pulumi.secrets_provider.count("://"):
        given = any(name in os.environ for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"))
        yield Check(
            name="Pulumi's passphrase",
            ok=given,
            found="given" if given else "none",
            mend="" if given else "Set PULUMI_CONFIG_PASSPHRASE, or secrets_provider under [pulumi] in wordup.toml.",
        )


def require(found: Iterable[Check]) -> None:
    """Raises DeploymentError for the first check that is not ok."""
    for check in found:
        if not check.ok:
            raise DeploymentError(f"{check.name}: {check.found}", mend=check.mend)
