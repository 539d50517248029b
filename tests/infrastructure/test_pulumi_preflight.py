"""What `wordup doctor` asks the operator's tools, and what it makes of their answers. See vendor_tools.py."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from infra.azure import names
from infra.checks import Check, require
from infra.doctor import examine
from infra.errors import DeploymentError
from infra.spec import DeploymentSpec
from infra.targets import TARGETS
from tests.infrastructure.plans import SUBSCRIPTION, spec
from tests.infrastructure.vendor_tools import Tools
from wordup.errors import ConfigurationError

# As gcloud 528 says it where nobody has logged in.
NO_CREDENTIALS = (
    "ERROR: (gcloud.auth.application-default.print-access-token) Your default credentials were not found. To set up"
    " Application Default Credentials, see https://cloud.google.com/docs/authentication/external/set-up-adc for more"
    " information.\n"
)
GCLOUD_VERSION = "Google Cloud SDK 528.0.0\nalpha 2025.06.20\nbq 2.1.18\n"
PROJECT = {"lifecycleState": "ACTIVE", "projectId": "word-up-demo", "projectNumber": "42"}
ACCOUNT = {"name": "Demo", "state": "Enabled", "user": {"name": "me@example.org", "type": "user"}}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "x")
    return Tools(tmp_path, monkeypatch)


def pulumi(tools: Tools) -> None:
    tools.answer("pulumi", "^version", "v3.272.0\n")
    tools.answer("pulumi", "^whoami", {"user": "me", "url": "file://~"})


def google(tools: Tools, **changed: Any) -> None:
    """Everything in order, but for what is `changed`."""
    answers: dict[str, Any] = {
        "version": GCLOUD_VERSION,
        "auth application-default": "token\n",
        "projects describe": PROJECT,
        "billing projects": {"billingEnabled": True, "billingAccountName": "billingAccounts/1"},
        "firestore locations": [{"locationId": "us-central1"}, {"locationId": "europe-west1"}],
    }
    for pattern, output in answers.items():
        tools.answer("gcloud", f"^{pattern}", changed.get(pattern.split()[0], output))


def azure(tools: Tools, deployment: DeploymentSpec, **changed: Any) -> None:
    answers: dict[str, Any] = {
        "version": '{\n  "azure-cli": "2.80.0"\n}\n',
        "account show": ACCOUNT,
        "role assignment": [{"roleDefinitionName": "Owner"}],
        "provider list": [
            {"namespace": f"Microsoft.{name}", "registrationState": "Registered"}
            for name in ("Insights", "KeyVault", "OperationalInsights", "Storage", "Web")
        ],
        "functionapp list": [{"name": "eastus"}, {"name": "West Europe"}],
        "storage account list": [{"name": names.rows_account(deployment)}],
        "storage account check": {"nameAvailable": True, "message": None},
        "keyvault list": [],
    }
    for pattern, output in answers.items():
        tools.answer("az", f"^{pattern}", changed.get(pattern.replace(" ", "_"), output))


def failed(found: list[Check]) -> dict[str, str]:
    """The mends of the checks that failed, by name. uv's is this machine's own affair."""
    return {check.name: check.mend for check in found if not check.ok and check.name != "uv"}


def test_everything_in_order_is_told_with_what_was_found(tools: Tools) -> None:
    pulumi(tools)
    google(tools)
    azure(tools, spec("azure"))
    gcp_checks, azure_checks = examine("gcp", spec("gcp")), examine("azure", spec("azure"))

    assert failed(gcp_checks) == failed(azure_checks) == {}
    assert all(check.found for check in [*gcp_checks, *azure_checks])
    assert "word-up-demo (42)" in [check.found for check in gcp_checks]
    assert "Demo as me@example.org" in [check.found for check in azure_checks]


@pytest.mark.parametrize("cloud", ["gcp", "azure"])
def test_missing_tools_are_named_with_their_page_and_nothing_is_asked_of_them(tools: Tools, cloud: str) -> None:
    cli = {"gcp": "gcloud", "azure": "az"}[cloud]
    found = failed(examine(cloud, spec(cloud)))

    assert found.keys() == {"pulumi", cli}
    assert all("https://" in mend for mend in found.values())
    assert tools.asked() == []


def test_old_tool_is_named_with_the_version_that_is_needed(tools: Tools) -> None:
    tools.answer("pulumi", "^version", "v3.9.1\n")
    google(tools)
    [check] = [check for check in examine("gcp", spec("gcp")) if check.name == "pulumi"]

    assert not check.ok
    assert "v3.9.1 is older than 3.150" in check.found


def test_state_without_login_or_passphrase_is_named(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE")
    google(tools)
    tools.answer("pulumi", "^version", "v3.272.0\n")
    tools.answer("pulumi", "^whoami", error="error: PULUMI_ACCESS_TOKEN must be set\n", status=255, times=1)
    tools.answer("pulumi", "^whoami", {"user": "me", "url": "gs://states"})

    assert "`pulumi login`" in failed(examine("gcp", spec("gcp")))["Pulumi's state"]
    assert "PULUMI_CONFIG_PASSPHRASE" in failed(examine("gcp", spec("gcp")))["Pulumi's passphrase"]
    kms = spec("gcp", pulumi={"secrets_provider": "gcpkms://key"})
    assert failed(examine("gcp", kms)) == {}


def test_google_without_credentials_is_told_the_login_that_pulumi_uses(tools: Tools) -> None:
    pulumi(tools)
    tools.answer("gcloud", "^version", GCLOUD_VERSION)
    tools.answer("gcloud", "^auth", error=NO_CREDENTIALS, status=1)

    assert failed(examine("gcp", spec("gcp"))) == {"credentials": "gcloud auth application-default login"}


@pytest.mark.parametrize(
    ("changed", "name", "mend"),
    [
        ({"projects": PROJECT | {"lifecycleState": "DELETE_REQUESTED"}}, "project", "projects undelete word-up-demo"),
        ({"billing": {"billingEnabled": False}}, "billing", "gcloud billing projects link word-up-demo"),
        ({"firestore": [{"locationId": "europe-west1"}]}, "region", "to one of: europe-west1"),
    ],
)
def test_what_google_cloud_lacks_is_named_with_its_mend(
    tools: Tools, changed: dict[str, Any], name: str, mend: str
) -> None:
    pulumi(tools)
    google(tools, **changed)
    found = failed(examine("gcp", spec("gcp")))

    assert found.keys() == {name}
    assert mend in found[name]


def test_region_is_not_judged_before_its_api_is_on(tools: Tools) -> None:
    pulumi(tools)
    tools.answer("gcloud", "^firestore", error="ERROR: PERMISSION_DENIED: reason: SERVICE_DISABLED\n", status=1)
    google(tools)

    assert failed(examine("gcp", spec("gcp"))) == {}


@pytest.mark.parametrize(
    ("changed", "name", "mend"),
    [
        ({"account_show": ACCOUNT | {"state": "Disabled"}}, "subscription", "Enable it"),
        ({"role_assignment": [{"roleDefinitionName": "Contributor"}]}, "right to grant roles", "Owner"),
        ({"provider_list": []}, "resource providers", "az provider register --namespace Microsoft.Web"),
        ({"functionapp_list": [{"name": "West Europe"}]}, "location", "to one of: westeurope"),
        (
            {"storage_account_check": {"nameAvailable": False, "message": "taken"}},
            "storage names",
            "Change name in wordup.toml",
        ),
        ({"keyvault_list": [{"name": names.vault(spec("azure"))}]}, "key vault's name", "az keyvault purge"),
    ],
)
def test_what_azure_lacks_is_named_with_its_mend(tools: Tools, changed: dict[str, Any], name: str, mend: str) -> None:
    pulumi(tools)
    azure(tools, spec("azure"), **changed)
    found = failed(examine("azure", spec("azure")))

    assert found.keys() == {name}
    assert mend in found[name]


def test_azure_without_login_is_told_to_log_in(tools: Tools) -> None:
    pulumi(tools)
    tools.answer("az", "^version", '{"azure-cli": "2.80.0"}')
    tools.answer("az", "^account", error="ERROR: Please run 'az login' to setup account.\n", status=1)

    assert failed(examine("azure", spec("azure"))) == {"subscription": "az login"}
    assert tools.asked("account", SUBSCRIPTION)


def test_deployment_without_project_or_subscription_is_told_the_key(tools: Tools) -> None:
    pulumi(tools)
    google(tools)
    azure(tools, spec("azure"))

    assert "[gcp]" in failed(examine("gcp", spec("gcp", gcp={"project": ""})))["project"]
    assert "[azure]" in failed(examine("azure", spec("azure", azure={"subscription": ""})))["subscription"]


def test_first_check_that_fails_stops_a_deployment() -> None:
    checks = [Check(name="a", ok=True, found="1"), Check(name="b", ok=False, found="none", mend="Get one.")]

    with pytest.raises(DeploymentError, match="b: none") as error:
        require(checks)
    assert error.value.mend == "Get one."
    require(checks[:1])


def test_unknown_target_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError) as error:
        examine("mars", spec("gcp"))
    assert all(name in error.value.mend for name in TARGETS)


def test_doctor_exits_with_1_and_names_the_mend_where_something_is_missing(tools: Tools) -> None:
    told = CliRunner().invoke(app, ["doctor", "--to", "azure"])
    document = CliRunner().invoke(app, ["doctor", "--to", "azure", "--json"])
    checks = json.loads(document.stdout)["checks"]

    assert (told.exit_code, document.exit_code) == (1, 1)
    assert "NO  az: `az` is not installed here.\n    mend: Install it: https://" in told.stdout
    assert {key: checks[-1][key] for key in ("name", "ok")} == {"name": "az", "ok": False}
    assert all(check.keys() == {"name", "ok", "found", "mend"} for check in checks)


def test_doctor_exits_with_0_where_nothing_is_missing() -> None:
    told = CliRunner().invoke(app, ["doctor", "--to", "local"])

    assert (told.exit_code, "NO" in told.stdout) == (0, False), told.stdout
    assert "ok  embedded AWS: installed" in told.stdout
