import re

import pytest

from infra import package
from infra.azure import names, roles
from infra.azure.api import PYTHON
from infra.plan.offline import offline_graph
from infra.spec import environment
from tests.infrastructure.plans import SUBSCRIPTION, of, one, plan, spec

ROLE = "azure-native:authorization:RoleAssignment"


def app_settings() -> dict[str, str]:
    settings = one(plan("azure"), "function").inputs["siteConfig"]["appSettings"]
    return {setting["name"]: setting["value"] for setting in settings}


def granted(prefix: str) -> dict[str, tuple[str, str]]:
    """The role and the scope of each grant to somebody, by the grant's name."""
    return {
        grant.name: (grant.inputs["roleDefinitionId"].rpartition("/")[2], grant.inputs["scope"])
        for grant in of(plan("azure"), ROLE)
        if grant.name.startswith(prefix)
    }


def test_function_gets_every_setting_and_where_its_things_are() -> None:
    settings = app_settings()
    vault = f"https://{names.vault(spec('azure'))}.vault.azure.net/secrets/wordup"

    assert environment(spec("azure"), "azure").items() <= settings.items()
    assert settings["WORDUP_STORE_ENDPOINT"] == f"https://{names.rows_account(spec('azure'))}.table.core.windows.net/"
    assert settings["WORDUP_SIGNING_KEY_REF"] == f"azure:{vault}#signing"
    assert settings["WORDUP_PROVIDER_KEY_REF"] == f"azure:{vault}#provider_key"


def test_host_logs_and_stores_as_itself() -> None:
    settings = app_settings()

    assert settings["AzureWebJobsStorage__accountName"] == names.host_account(spec("azure"))
    assert "AzureWebJobsStorage" not in settings
    assert settings["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"] == "Authorization=AAD"


def test_function_runs_on_the_python_that_is_tested_and_starts_from_an_identity_s_package() -> None:
    config = one(plan("azure"), "function").inputs["functionAppConfig"]

    assert config["runtime"] == {"name": "python", "version": PYTHON}
    assert ".".join(map(str, package.PYTHON)) == PYTHON
    assert config["deployment"]["storage"]["authentication"] == {"type": "SystemAssignedIdentity"}
    assert config["deployment"]["storage"]["value"].startswith(f"https://{names.host_account(spec('azure'))}.blob.")


def test_site_has_no_property_that_flex_consumption_does_not_take() -> None:
    site = one(plan("azure"), "function").inputs["siteConfig"]

    assert site.keys() == {"appSettings", "ftpsState", "http20Enabled", "minTlsVersion", "scmMinTlsVersion"}


def test_function_is_sized_by_wordup_toml() -> None:
    sized = {"memory_mb": 512, "concurrency": 7, "max_instances": 50, "location": "westeurope"}
    graph = offline_graph("azure", spec("azure", azure=sized))
    scale = one(graph, "function").inputs["functionAppConfig"]["scaleAndConcurrency"]

    assert scale == {
        "alwaysReady": [],
        "instanceMemoryMB": 512,
        "maximumInstanceCount": 50,
        "triggers": {"http": {"perInstanceConcurrency": 7}},
    }
    assert {r.inputs["location"] for r in graph.resources if "location" in r.inputs} == {"westeurope"}


def test_function_may_do_four_things_each_on_one_thing() -> None:
    table = f"{names.rows_account(spec('azure'))}/tableServices/default/tables/wordup"

    assert {name: role for name, (role, _) in granted("function").items()} == {
        "function-rows": roles.STORAGE_TABLE_DATA_CONTRIBUTOR,
        "function-secret": roles.KEY_VAULT_SECRETS_USER,
        "function-host": roles.STORAGE_BLOB_DATA_OWNER,
        "function-logs": roles.MONITORING_METRICS_PUBLISHER,
    }
    assert granted("function")["function-rows"][1].endswith(table)
    assert granted("function")["function-host"][1].endswith(names.host_account(spec("azure")))


def test_who_deploys_may_put_keys_and_rows_and_no_more() -> None:
    assert {role for role, _ in granted("operator").values()} == {
        roles.KEY_VAULT_SECRETS_OFFICER,
        roles.STORAGE_TABLE_DATA_CONTRIBUTOR,
    }


@pytest.mark.parametrize("public", [True, False])
def test_internet_reaches_it_only_where_wordup_toml_says(public: bool) -> None:
    access = one(plan("azure", public=public), "function").inputs["publicNetworkAccess"]

    assert access == ("Enabled" if public else "Disabled")


@pytest.mark.parametrize(
    ("profile", "deletable", "keep"), [("dev", False, False), ("production", False, True), ("production", True, False)]
)
def test_only_production_keeps_its_data(profile: str, deletable: bool, keep: bool) -> None:
    graph = plan("azure", profile, deletable=deletable)
    vault = one(graph, "vault").inputs["properties"]

    assert {r.name for r in graph.resources if r.protect} == (
        {r.name for r in graph.resources if r.parent == "data"} if keep else set()
    )
    assert one(graph, "rows-account").inputs["sku"] == {"name": "Standard_ZRS" if keep else "Standard_LRS"}
    assert [lock.inputs["level"] for lock in of(graph, "azure-native:authorization:ManagementLockByScope")] == (
        ["CanNotDelete"] if keep else []
    )
    assert (vault.get("enablePurgeProtection"), vault["softDeleteRetentionInDays"]) == (
        (True, 90) if keep else (None, 7)
    )


def test_everything_that_takes_tags_has_them() -> None:
    tagged = [resource for resource in plan("azure").resources if "tags" in resource.inputs]

    assert len(tagged) == 8
    assert all(resource.inputs["tags"] == {"team": "bots", "deployment": "wordup"} for resource in tagged)


@pytest.mark.parametrize("name", ["word", "word-up", "a2345678901234567890", "a234567890123456-890"])
def test_names_keep_azures_limits(name: str) -> None:
    deployment = spec("azure", name=name)

    assert re.fullmatch("[a-z0-9]{3,24}", names.rows_account(deployment))
    assert re.fullmatch("[a-z0-9]{3,24}", names.host_account(deployment))
    assert re.fullmatch("[A-Za-z][A-Za-z0-9]{2,62}", names.table(deployment))
    assert re.fullmatch("[a-z](?!.*--)[a-z0-9-]{1,22}[a-z0-9]", names.vault(deployment))
    assert re.fullmatch("[a-z0-9][a-z0-9-]{0,58}[a-z0-9]", names.function_app(deployment))


def test_names_are_the_same_every_time_and_others_in_another_subscription() -> None:
    other = spec("azure", azure={"subscription": SUBSCRIPTION[:-1] + "6"})

    assert names.vault(spec("azure")) == names.vault(spec("azure"))
    assert names.vault(spec("azure")) != names.vault(other)
    assert names.rows_account(spec("azure")) != names.host_account(spec("azure"))
