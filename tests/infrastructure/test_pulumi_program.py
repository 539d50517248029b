"""The program as Pulumi runs it: by the folder that Pulumi.yaml names, with a stack's configuration."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.errors import DeploymentError
from infra.plan.offline import configured_graph, offline_graph
from infra.spec import ROOT, load
from tests.infrastructure.plans import SUBSCRIPTION, one, plan, spec

FILE = f"""
name = "file-name"
[gcp]
project = "word-up-demo"
[azure]
subscription = "{SUBSCRIPTION}"
"""


@pytest.fixture
def config(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "wordup.toml").write_text(FILE)
    (tmp_path / "package.zip").write_bytes(b"archive")
    return {"file": str(tmp_path / "wordup.toml"), "package": str(tmp_path / "package.zip")}


@pytest.mark.parametrize("cloud", ["gcp", "azure"])
def test_stack_s_cloud_picks_the_program(cloud: str, config: dict[str, str]) -> None:
    configured = configured_graph({"cloud": cloud, **config})

    assert configured == offline_graph(cloud, load(Path(config["file"])), Path(config["package"]))


def test_stack_s_configuration_replaces_name_and_profile(config: dict[str, str]) -> None:
    configured = configured_graph({"cloud": "gcp", "name": "other", "profile": "production", **config})

    assert one(configured, "database").inputs["name"] == "other"
    assert one(configured, "database").protect


def test_deletable_stack_has_nothing_protected_and_a_service_principal_its_own_kind(config: dict[str, str]) -> None:
    service = {"deletable": "true", "operatorType": "ServicePrincipal"}
    configured = configured_graph({"cloud": "azure", "profile": "production", **service, **config})

    assert [resource.name for resource in configured.resources if resource.protect] == []
    assert one(configured, "operator-rows").inputs["principalType"] == "ServicePrincipal"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"cloud": "aws"}, "No cloud is called 'aws'. Known: azure, gcp"),
        ({}, "wordup:cloud"),
        ({"cloud": "gcp", "package": ""}, "from an archive, and none was given"),
        ({"cloud": "gcp", "profile": "staging"}, "profile"),
    ],
)
def test_wrong_configuration_is_named(wrong: dict[str, str], sentence: str, config: dict[str, str]) -> None:
    with pytest.raises(DeploymentError) as error:
        configured_graph(config | wrong)

    assert sentence in error.value.sentence + error.value.mend


def test_pulumi_s_command_line_finds_the_plug_ins_to_install() -> None:
    """It asks the environment that Pulumi.yaml names in these words, and fails where there is no pip."""
    asked = [sys.executable, "-m", "pip", "list", "-v", "--format", "json", "--not-required"]
    listed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout

    assert {"pulumi_azure_native", "pulumi_gcp"} <= {package["name"] for package in json.loads(listed)}


def test_plan_names_components_like_the_lifecycles_of_the_stacks() -> None:
    components = {c: {r.name for r in plan(c).resources if r.component} for c in ("gcp", "azure")}

    assert components == {"gcp": {"services", "data", "api"}, "azure": {"data", "api"}}


def test_plan_lists_a_resource_after_all_that_it_needs() -> None:
    for cloud in ("gcp", "azure"):
        seen: set[str] = set()
        for resource in plan(cloud).resources:
            assert seen.issuperset(resource.depends_on), resource.name
            seen.add(resource.name)


def test_plan_tells_no_folder_of_this_machine() -> None:
    assert str(ROOT) not in repr([plan("gcp"), plan("azure")])
    assert one(plan("gcp"), "archive").inputs["source"] == {"$file": "package.zip"}


@pytest.mark.parametrize(
    ("cloud", "sentence"), [("gcp", "Google Cloud needs a project"), ("azure", "Azure needs a subscription")]
)
def test_account_is_needed_to_deploy_but_not_to_plan(
    cloud: str, sentence: str, config: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "wordup.toml").write_text("")

    with pytest.raises(DeploymentError) as error:
        configured_graph({"cloud": cloud, **config})
    assert sentence in error.value.mend
    assert offline_graph(cloud, load(Path(config["file"])), Path(config["package"])).resources


def test_answer_that_azure_would_cut_off_is_refused_with_the_key_to_mend() -> None:
    slow = {"provider_timeout_seconds": 230, "stream_timeout_seconds": 230, "lease_seconds": 300}

    with pytest.raises(DeploymentError, match="allows the model 230") as error:
        offline_graph("azure", spec("azure", bot=slow))
    assert error.value.mend == "Set it to 200 or less in wordup.toml."
