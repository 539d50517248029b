"""What holds data keeps its identity: under another one, an update would make a new and empty one in its place.

`kept.json` is what deployments have. Whoever changes one of its lines moves the data, and says so in the changelog.
"""

import json
from pathlib import Path

import pytest

from infra.aws import templates
from tests.infrastructure.aws_templates import Templates
from tests.infrastructure.plans import plan

KEPT: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("kept.json").read_text())
# What stands beside the data and holds none.
HOLDS_NONE = {
    "azure-native:authorization:ManagementLockByScope",
    "azure-native:authorization:RoleAssignment",
    "gcp:firebaserules/release:Release",
    "gcp:firebaserules/ruleset:Ruleset",
    "gcp:firestore/backupSchedule:BackupSchedule",
    "gcp:firestore/field:Field",
    "gcp:logging/projectExclusion:ProjectExclusion",
    "gcp:logging/projectSink:ProjectSink",
}
# The properties by which a cloud knows a resource: it replaces one whose name changes.
NAMES = {
    *("TableName", "Name", "LogGroupName"),
    *("bucketId", "name", "secretId"),
    *("accountName", "resourceGroupName", "resourceName", "tableName", "vaultName", "workspaceName"),
}


@pytest.mark.parametrize("profile", ["dev", "production"])
def test_cloudformation_keeps_the_logical_ids_of_what_holds_data(synthesized: Templates, profile: str) -> None:
    planned = templates.resources(synthesized(profile))
    found = {
        resource.name: f"{resource.type} {physical(resource.inputs)}"
        for resource in planned
        if resource.name.startswith("wordup-data/") and resource.type != "AWS::CDK::Metadata"
    }
    assert found == KEPT["aws"]


@pytest.mark.parametrize("cloud", ["gcp", "azure"])
@pytest.mark.parametrize("profile", ["dev", "production"])
def test_pulumi_keeps_the_urns_of_what_holds_data(cloud: str, profile: str) -> None:
    graph = plan(cloud, profile)
    [data] = [resource for resource in graph.resources if resource.component and resource.name == "data"]
    found = {
        f"{data.type}${resource.type}::{resource.name}": physical(resource.inputs)
        for resource in graph.resources
        if resource.parent == data.name and resource.type not in HOLDS_NONE
    }
    assert found == KEPT[cloud]


def physical(inputs: dict[str, object]) -> str:
    return " ".join(f"{name}={inputs[name]}" for name in sorted(NAMES & inputs.keys()))
