"""Whether Azure can be deployed to: the tools, the login, the subscription and one's rights in it, the names."""

from collections.abc import Iterator
from typing import Any

from infra.azure import names
from infra.checks import Check, answer, asked, pulumi, tool
from infra.errors import DeploymentError
from infra.spec import DeploymentSpec

# Azure's program grants roles, which takes one of these.
GRANTERS = {"Owner", "User Access Administrator", "Role Based Access Control Administrator"}
PROVIDERS = {
    "Microsoft.Insights",
    "Microsoft.KeyVault",
    "Microsoft.OperationalInsights",
    "Microsoft.Storage",
    "Microsoft.Web",
}


def checks(spec: DeploymentSpec) -> Iterator[Check]:
    yield from pulumi(spec)
    cli = tool("az", ["version", "--output", "json"], r'"azure-cli": "(\d+)\.(\d+)\.\d+"', (2, 60))
    yield cli
    if not cli.ok:
        return
    subscription = asked("subscription", lambda: _subscription(spec))
    yield subscription
    if subscription.ok:
        yield asked("right to grant roles", lambda: _rights(spec))
        yield asked("resource providers", lambda: _providers(spec))
        yield asked("location", lambda: _location(spec))
        yield asked("storage names", lambda: _storage_names(spec))
        yield asked("key vault's name", lambda: _vault_name(spec))


def _az(spec: DeploymentSpec, *arguments: str) -> Any:
    return answer(["az", *arguments, "--subscription", spec.azure.subscription, "--output", "json"])


def _subscription(spec: DeploymentSpec) -> str:
    if not spec.azure.subscription:
        raise DeploymentError(
            "wordup.toml names no subscription.", mend="Set subscription under [azure] in wordup.toml."
        )
    try:
        told = _az(spec, "account", "show")
    except DeploymentError as error:
        raise DeploymentError(error.sentence, mend="az login") from error
    if told["state"] != "Enabled":
        raise DeploymentError(f"{told['name']} is {told['state']}.", mend="Enable it, or name another in wordup.toml.")
    return f"{told['name']} as {told['user']['name']}"


def _rights(spec: DeploymentSpec) -> str:
    operator = _az(spec, "account", "show")["user"]["name"]
    scope = f"/subscriptions/{spec.azure.subscription}"
    held = _az(spec, "role", "assignment", "list", "--assignee", operator, "--scope", scope, "--include-groups")
    granting = sorted({assignment["roleDefinitionName"] for assignment in held} & GRANTERS)
    if not granting:
        raise DeploymentError(
            "None of your roles on the subscription may grant roles.",
            mend=f"Ask for one of: {', '.join(sorted(GRANTERS))}.",
        )
    return ", ".join(granting)


def _providers(spec: DeploymentSpec) -> str:
    listed = _az(spec, "provider", "list")
    missing = PROVIDERS - {each["namespace"] for each in listed if each["registrationState"] == "Registered"}
    if missing:
        raise DeploymentError(
            f"Not registered: {', '.join(sorted(missing))}.",
            mend="; ".join(f"az provider register --namespace {name}" for name in sorted(missing)),
        )
    return "registered"


def _location(spec: DeploymentSpec) -> str:
    places = {
        place["name"].replace(" ", "").lower() for place in _az(spec, "functionapp", "list-flexconsumption-locations")
    }
    if spec.azure.location not in places:
        raise DeploymentError(
            f"Flex Consumption is not in {spec.azure.location}.",
            mend=f"Set location under [azure] in wordup.toml to one of: {', '.join(sorted(places))}.",
        )
    return spec.azure.location


def _storage_names(spec: DeploymentSpec) -> str:
    """Everybody's accounts share one namespace; those of this subscription may well be this deployment's."""
    wanted = {names.rows_account(spec), names.host_account(spec)}
    ours = {account["name"] for account in _az(spec, "storage", "account", "list")}
    for name in sorted(wanted - ours):
        told = _az(spec, "storage", "account", "check-name", "--name", name)
        if not told["nameAvailable"]:
            raise DeploymentError(f"{name}: {told['message']}", mend="Change name in wordup.toml.")
    return ", ".join(sorted(wanted))


def _vault_name(spec: DeploymentSpec) -> str:
    """A deleted vault keeps its name until it is purged."""
    name = names.vault(spec)
    deleted = {vault["name"] for vault in _az(spec, "keyvault", "list-deleted", "--resource-type", "vault")}
    if name in deleted:
        raise DeploymentError(
            f"A deleted vault still has the name {name}.",
            mend=f"az keyvault purge --name {name}, or az keyvault recover --name {name} and import it.",
        )
    return name
