"""The bot in a project of Google Cloud: deploys it, reads it, removes it. By the application default credentials."""

import contextlib
from collections.abc import Generator, Mapping
from functools import cached_property
from typing import Any

from infra import package
from infra.checks import require
from infra.command import run
from infra.gcp import names, secret
from infra.gcp.preflight import checks
from infra.plan.offline import offline_graph
from infra.spec import ROOT, DeploymentSpec, environment
from infra.stack import Stack
from infra.targets import Change, Kept, Removal, Report, Resource
from wordup.config import Settings


class GCPDeployment:
    is_billed = True

    def __init__(self, spec: DeploymentSpec) -> None:
        self._spec = spec
        self._stack = Stack("gcp", spec)

    def check(self) -> None:
        require(checks(self._spec))

    def plan(self, report: Report, *, offline: bool) -> list[Resource]:  # noqa: ARG002 - the same with an account
        report.step("Building the package")
        archive = package.build("gcp", "x86_64", embeddings=self._spec.bot.embeddings)
        report.step("Running the program")
        return offline_graph("gcp", self._spec, archive).planned()

    def changes(self, report: Report) -> list[Change]:
        report.step("Building the package")
        return self._stack.changes(self._settings)

    def deploy(self, report: Report) -> None:
        report.step("Deploying the stack")
        self._stack.up(self._settings, report)

    def outputs(self) -> Mapping[str, str]:
        found = self._stack.outputs()
        return {"url": found["url"], **found} if "url" in found else {}

    def read_secret(self) -> dict[str, Any]:
        return secret.read(self._secrets, self._secret)

    def write_secret(self, value: Mapping[str, Any]) -> None:
        secret.write(self._secrets, self._secret, value)

    def secret_reference(self, field: str) -> str:
        return f"gcp:{self._secret}#{field}"

    @contextlib.contextmanager
    def connected(self) -> Generator[Settings]:
        yield Settings.from_env(environment(self._spec, "gcp"))

    def admission(self) -> Mapping[str, str]:
        if self._spec.gcp.public:
            return {}
        # https://cloud.google.com/run/docs/authenticating/service-to-service: this header leaves the bot its own.
        token = run(["gcloud", "auth", "print-identity-token"]).strip()
        return {"X-Serverless-Authorization": f"Bearer {token}"}

    def destroy(self, report: Report, *, delete_data: bool) -> Removal:
        removal = self._stack.destroy(self._settings, report, delete_data=delete_data)
        if "logs" in removal.removed:
            removal.removed.remove("logs")
            why = f"holds the log lines until they are {self._spec.gcp.log_retention_days} days old"
            removal.kept.append(Kept(f"log bucket {names.logs(self._spec)}", why))
        return removal

    @property
    def _settings(self) -> dict[str, str]:
        return {"package": str(package.build("gcp", "x86_64", embeddings=self._spec.bot.embeddings).relative_to(ROOT))}

    @property
    def _secret(self) -> str:
        return f"projects/{self._spec.gcp.project}/secrets/{names.secret(self._spec)}"

    @cached_property
    def _secrets(self) -> secret.Client:
        return secret.connect()
