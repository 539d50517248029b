"""One stack of Pulumi's: previews, brings up, reads and removes a deployment with the operator's own `pulumi`."""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from infra.command import run
from infra.plan.graph import COMPONENT_PREFIX
from infra.spec import ROOT, Cloud, DeploymentSpec
from infra.targets import Change, Kept, Removal, Report

POLICIES = ROOT / "infra" / "policies"
# What a step of a preview means to a person; the others change nothing.
ACTIONS = {"create": "add", "update": "change", "replace": "change", "delete": "remove"}
# A line of `pulumi up` that tells of one resource: ` +  gcp:storage:Bucket source created (2s)`.
_PROGRESS = re.compile(r"^ *[+~-]{1,2} +(\S+:\S+ .+)$")


class Stack:
    """`settings` are the program's configuration, see Pulumi.yaml. Every method may raise DeploymentError."""

    def __init__(self, cloud: Cloud, spec: DeploymentSpec) -> None:
        self._cloud = cloud
        self._spec = spec
        self.name = f"{spec.name}-{cloud}"
        backend = {"PULUMI_BACKEND_URL": spec.pulumi.backend} if spec.pulumi.backend else {}
        self._environment = {**os.environ, **backend, "PULUMI_SKIP_UPDATE_CHECK": "true"}

    def changes(self, settings: Mapping[str, str]) -> list[Change]:
        self._configure(settings)
        with self._policies() as policies:
            preview = json.loads(self._pulumi("preview", "--json", *policies))
        return [
            Change(ACTIONS[step["op"]], _name(step["urn"]), _type(step["urn"]))  # type: ignore[arg-type]
            for step in preview["steps"]
            if step["op"] in ACTIONS and not _is_grouping(step["urn"])
        ]

    def up(self, settings: Mapping[str, str], report: Report) -> None:
        self._configure(settings)
        with self._policies() as policies:
            self._pulumi("up", "--yes", "--skip-preview", "--color", "never", *policies, report=report)

    def outputs(self) -> dict[str, str]:
        """Empty where there is no such stack."""
        return json.loads(self._pulumi("stack", "output", "--json")) if self._exists() else {}

    def destroy(self, settings: Mapping[str, str], report: Report, *, delete_data: bool) -> Removal:
        """Protected resources, and what they need, stay in the cloud and in the state, unless `delete_data`."""
        if not self._exists():
            return Removal(removed=[], kept=[], left=[])
        before = self._resources()
        if delete_data and any(resource.get("protect") for resource in before):
            report.step("Taking the protection off the data")
            self.up({**settings, "deletable": "true"}, report)
        keep = [] if delete_data else ["--exclude-protected"]
        self._pulumi("destroy", "--yes", "--skip-preview", "--color", "never", *keep, report=report)
        after = self._resources()
        if not after:
            self._pulumi("stack", "rm", "--yes", "--preserve-config")
        there = {resource["urn"] for resource in after}
        return Removal(
            removed=[_name(resource["urn"]) for resource in before if resource["urn"] not in there],
            kept=[Kept(_name(resource["urn"]), _why(resource)) for resource in after if not delete_data],
            left=[_name(resource["urn"]) for resource in after if delete_data],
        )

    def _configure(self, settings: Mapping[str, str]) -> None:
        provider = (
            ["--secrets-provider", self._spec.pulumi.secrets_provider] if self._spec.pulumi.secrets_provider else []
        )
        run(["pulumi", "stack", "select", self.name, "--create", "--non-interactive", *provider], self._environment)
        values = {"cloud": self._cloud, "name": self._spec.name, "profile": self._spec.profile, "deletable": "false"}
        pairs = [word for key, value in {**values, **settings}.items() for word in ("--plaintext", f"{key}={value}")]
        self._pulumi("config", "set-all", *pairs)

    def _exists(self) -> bool:
        stacks: list[dict[str, str]] = json.loads(
            run(["pulumi", "stack", "ls", "--json", "--non-interactive"], self._environment)
        )
        return self.name in {stack["name"].rpartition("/")[2] for stack in stacks}

    def _resources(self) -> list[dict[str, Any]]:
        """What the state holds of the cloud: no provider, no component, no stack."""
        state: Any = json.loads(self._pulumi("stack", "export"))
        resources: list[dict[str, Any]] = state["deployment"].get("resources", [])
        return [resource for resource in resources if not _is_grouping(resource["urn"])]

    @contextlib.contextmanager
    def _policies(self) -> Generator[list[str]]:
        public = self._spec.gcp.public if self._cloud == "gcp" else self._spec.azure.public
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "policies.json")
            config.write_text(json.dumps({"nothing-public": {"public": public}}))
            yield ["--policy-pack", str(POLICIES), "--policy-pack-config", str(config)]

    def _pulumi(self, *arguments: str, report: Report | None = None) -> str:
        def heard(line: str) -> None:
            if report and (told := _PROGRESS.match(line)):
                report.detail(told[1])

        command = ["pulumi", *arguments, "--stack", self.name, "--non-interactive"]
        return run(command, self._environment, heard=heard if report else None)


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _type(urn: str) -> str:
    """`urn:pulumi:<stack>::<project>::<parent's type>$<type>::<name>`."""
    return urn.split("::")[2].rpartition("$")[2]


def _is_grouping(urn: str) -> bool:
    return _type(urn).startswith(("pulumi:", COMPONENT_PREFIX))


def _why(resource: Mapping[str, Any]) -> str:
    return "production data" if resource.get("protect") else "needed by production data"
