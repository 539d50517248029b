"""The bot in a subscription of Azure: deploys it, reads it, removes it. By the login of `az`."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, cast

from azure.core.exceptions import AzureError, HttpResponseError
from azure.data.tables import TableClient
from azure.identity import DefaultAzureCredential

from infra import inference, package
from infra.azure import names, secret
from infra.azure.names import DEPLOYMENT
from infra.azure.preflight import checks
from infra.checks import answer, require
from infra.command import run
from infra.errors import DeploymentError
from infra.plan.offline import offline_graph
from infra.spec import DeploymentSpec, environment
from infra.stack import Stack
from infra.targets import Change, Kept, Removal, Report, Resource
from wordup.config import Settings, variable

# A role that was just granted holds everywhere after some minutes:
# https://learn.microsoft.com/azure/role-based-access-control/troubleshooting#symptom---role-assignment-changes-are-not-being-detected
POLL_SECONDS = 10
POLLS = 60


class AzureDeployment:
    is_billed = True

    def __init__(self, spec: DeploymentSpec) -> None:
        self._spec = spec
        self._stack = Stack("azure", spec)

    def check(self) -> None:
        require(checks(self._spec))

    def plan(self, report: Report, *, offline: bool) -> list[Resource]:  # noqa: ARG002 - the same with an account
        report.step("Running the program")
        return offline_graph("azure", self._spec).planned()

    def changes(self, report: Report) -> list[Change]:
        report.step("Building the package")
        package.build("azure", "x86_64", embeddings=self._spec.bot.embeddings)
        return self._stack.changes(self._settings())

    def deploy(self, report: Report) -> None:
        archive = package.build("azure", "x86_64", embeddings=self._spec.bot.embeddings)
        report.step("Deploying the stack")
        self._stack.up(self._settings(), report)
        report.step("Waiting for the granted roles")
        until_granted(self._read_secret)
        until_granted(self._read_table)
        report.step("Uploading the package")
        # As the operator: publishing passwords are off, and the host's storage has no keys.
        command = ["az", "functionapp", "deployment", "source", "config-zip", "--src", str(archive)]
        where = ["--resource-group", names.group(self._spec), "--name", names.function_app(self._spec)]
        run([*command, *where, "--subscription", self._spec.azure.subscription, "--output", "none"])
        if inference.on(self._spec.inference, "azure"):
            self._open_endpoints(report)

    def _open_endpoints(self, report: Report) -> None:
        """An endpoint gives no share of its traffic to a deployment that is not there yet, so not in the program."""
        found = self._stack.outputs()
        for name in inference.on(self._spec.inference, "azure"):
            if endpoint := found.get(f"{inference.OUTPUT}{name}"):
                report.step(f"Opening {name}")
                share = f"properties.traffic.{DEPLOYMENT}=100"
                run(["az", "resource", "update", "--ids", endpoint, "--set", share, "--output", "none"])

    def outputs(self) -> Mapping[str, str]:
        found = self._stack.outputs()
        return {"url": found["url"], **found} if "url" in found else {}

    def read_secret(self) -> dict[str, Any]:
        with _translated():
            return self._read_secret()

    def write_secret(self, value: Mapping[str, Any]) -> None:
        with _translated(), secret.connect(self._vault_url) as vault:
            secret.write(vault, names.secret(self._spec), value)

    def secret_reference(self, field: str) -> str:
        return f"azure:{self._vault_url}secrets/{names.secret(self._spec)}#{field}"

    @contextlib.contextmanager
    def connected(self) -> Generator[Settings]:
        known = {
            variable("store_endpoint"): self.outputs()["rows_url"],
            variable("signing_key_ref"): self.secret_reference("signing"),
            variable("provider_key_ref"): self.secret_reference("provider_key"),
        }
        yield Settings.from_env(environment(self._spec, "azure") | known)

    def admission(self) -> Mapping[str, str]:
        return {}  # whoever is in its network may call

    def destroy(self, report: Report, *, delete_data: bool) -> Removal:
        removal = self._stack.destroy(self._settings(), report, delete_data=delete_data)
        for resource, name in (("vault", names.vault(self._spec)), ("ml-vault", names.ml_vault(self._spec))):
            if resource in removal.removed:
                self._purge(name, removal, report)
        return removal

    def _purge(self, name: str, removal: Removal, report: Report) -> None:
        """A removed vault keeps its name for a week, in which the deployment could not come back."""
        where = ["--subscription", self._spec.azure.subscription, "--output", "json"]
        deleted = answer(["az", "keyvault", "show-deleted", "--name", name, *where])
        if deleted["properties"].get("purgeProtectionEnabled"):
            final = deleted["properties"]["scheduledPurgeDate"]
            removal.kept.append(Kept(f"deleted key vault {name}", f"nobody can purge it before {final}"))
        else:
            report.step("Purging the key vault")
            run(["az", "keyvault", "purge", "--name", name, *where])

    def _settings(self) -> dict[str, str]:
        account = answer(["az", "account", "show", "--subscription", self._spec.azure.subscription, "--output", "json"])
        # Azure's two words for one thing, in its tool and in its roles.
        return {"operatorType": {"user": "User", "servicePrincipal": "ServicePrincipal"}[account["user"]["type"]]}

    @property
    def _vault_url(self) -> str:
        return f"https://{names.vault(self._spec)}.vault.azure.net/"

    def _read_secret(self) -> dict[str, Any]:
        with secret.connect(self._vault_url) as vault:
            return secret.read(vault, names.secret(self._spec))

    def _read_table(self) -> None:
        endpoint, table = self.outputs()["rows_url"], names.table(self._spec)
        with TableClient(endpoint, table, credential=DefaultAzureCredential()) as client:
            rows: Iterable[object] = cast(Any, client).list_entities(results_per_page=1)
            next(iter(rows), None)


def until_granted(call: Callable[[], object], *, wait: Callable[[float], None] = time.sleep) -> None:
    """Calls until it is no longer forbidden. Raises DeploymentError for another refusal, or for that one at the end."""
    for polls_left in range(POLLS, -1, -1):
        with _translated():
            try:
                call()
            except HttpResponseError as error:
                if error.status_code != 403 or not polls_left:
                    raise
            else:
                return
        wait(POLL_SECONDS)


@contextlib.contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except AzureError as error:
        raise DeploymentError(
            f"Azure refused: {error.message}", mend="`az login` as the one who deployed; else see Azure's own words."
        ) from error
