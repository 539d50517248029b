"""Where the bot can be deployed: one line each, and what every one of them does.

A target is named by text and imported when it is asked for, so that deploying to one cloud needs no other's tools.
"""

import importlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

import msgspec

from infra.spec import DeploymentSpec
from wordup.config import Settings
from wordup.errors import ConfigurationError

TARGETS = {
    "local": "infra.local.embedded:deployment",
    "aws": "infra.aws.deployment:on_account",
    "gcp": "infra.gcp.deployment:GCPDeployment",
    "azure": "infra.azure.deployment:AzureDeployment",
}


class Report(Protocol):
    """Where a long piece of work says how far it is."""

    def step(self, text: str) -> None:
        """What begins now; the step before it is done."""
        ...

    def detail(self, text: str) -> None:
        """Where the step stands; replaces the detail before it."""
        ...

    def note(self, text: str) -> None:
        """What an operator should read."""
        ...


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One resource of a plan. `depends_on` are names of others."""

    name: str
    type: str
    inputs: dict[str, Any]
    depends_on: list[str]


class Change(msgspec.Struct, frozen=True):
    action: Literal["add", "change", "remove"]
    name: str
    type: str


class Kept(msgspec.Struct, frozen=True):
    name: str
    why: str


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """What `destroy` did. `left` is what is there although it was to be removed: nothing, unless a removal failed."""

    removed: list[str]
    kept: list[Kept]
    left: list[str]


class Target(Protocol):
    """One deployment at one place. Every method may raise DeploymentError."""

    is_billed: bool

    def check(self) -> None:
        """Whether a deployment can begin, before anything is built or created."""
        ...

    def plan(self, report: Report, *, offline: bool) -> list[Resource]:
        """What would be there. `offline` needs no network and no account."""
        ...

    def changes(self, report: Report) -> list[Change]:
        """What a deployment would change now."""
        ...

    def deploy(self, report: Report) -> None: ...

    def outputs(self) -> Mapping[str, str]:
        """What is deployed, `url` first; empty where nothing is."""
        ...

    def read_secret(self) -> dict[str, Any]:
        """The deployment's JSON secret, empty before its first value."""
        ...

    def write_secret(self, value: Mapping[str, Any]) -> None: ...

    def secret_reference(self, field: str) -> str:
        """How a person finds a field of the secret."""
        ...

    def connected(self) -> AbstractContextManager[Settings]:
        """The deployed bot's settings, in a process that may use them as the operator."""
        ...

    def admission(self) -> Mapping[str, str]:
        """Headers by which the cloud itself lets the operator in to a bot that is not public."""
        ...

    def destroy(self, report: Report, *, delete_data: bool) -> Removal: ...


def open_target(name: str, spec: DeploymentSpec) -> Target:
    """Raises ConfigurationError naming the known ones."""
    if name not in TARGETS:
        raise ConfigurationError("--to", f"{name!r} is no target.", mend=f"Known: {', '.join(TARGETS)}.")
    module, _, attribute = TARGETS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)(spec)
