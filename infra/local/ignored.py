"""What the embedded AWS takes from a template and then does not do, applied by API from that same template.

Its CloudFormation ignores a table's time to live and point-in-time recovery. AWS itself needs none of this.
"""

from collections.abc import Callable, Mapping
from typing import Any

Client = Callable[[str], Any]


def apply(client: Client, templates: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Says what was applied, for the operator to read; nothing where all of it was in force already."""
    return [
        said
        for template in templates.values()
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::DynamoDB::Table"
        for said in _table(client("dynamodb"), resource["Properties"])
    ]


def _table(dynamodb: Any, properties: Mapping[str, Any]) -> list[str]:
    name = properties["TableName"]
    said: list[str] = []
    if wanted := properties.get("TimeToLiveSpecification"):
        is_on = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"] == "ENABLED"
        if wanted["Enabled"] and not is_on:
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)
            said.append(f"time to live of table {name}, attribute {wanted['AttributeName']}")
    if wanted := properties.get("PointInTimeRecoverySpecification"):
        backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        is_on = backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
        if wanted["PointInTimeRecoveryEnabled"] and not is_on:
            dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=wanted)
            said.append(f"point-in-time recovery of table {name}")
    return said
