"""What the embedded AWS takes from a template and then does not do, applied by API from that same template.

Its CloudFormation ignores a table's time to live and point-in-time recovery, a function's reserved concurrency, and
what validates a request. AWS itself needs none of this.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Client = Callable[[str], Any]
Template = Mapping[str, Any]


def apply(client: Client, templates: Mapping[str, Template]) -> list[str]:
    """Says what was applied, for the operator to read; nothing where all of it was in force already."""
    said: list[str] = []
    for stack, template in templates.items():
        for logical_id, resource in template["Resources"].items():
            properties = resource.get("Properties", {})
            match resource["Type"]:
                case "AWS::DynamoDB::Table":
                    said += _table(client("dynamodb"), properties)
                case "AWS::Lambda::Function":
                    said += _function(client("lambda"), properties)
                case "AWS::ApiGateway::Method" if "RequestValidatorId" in properties:
                    said += _method(client, stack, logical_id, template)
                case _:
                    pass
    return said


def _table(dynamodb: Any, properties: Template) -> Iterator[str]:
    name = properties["TableName"]
    if wanted := properties.get("TimeToLiveSpecification"):
        is_on = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]["TimeToLiveStatus"] == "ENABLED"
        if wanted["Enabled"] and not is_on:
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)
            yield f"time to live of table {name}, attribute {wanted['AttributeName']}"
    if wanted := properties.get("PointInTimeRecoverySpecification"):
        backups = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        is_on = backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
        if wanted["PointInTimeRecoveryEnabled"] and not is_on:
            dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=wanted)
            yield f"point-in-time recovery of table {name}"


def _function(lambda_: Any, properties: Template) -> Iterator[str]:
    name, wanted = properties["FunctionName"], properties.get("ReservedConcurrentExecutions")
    if wanted and lambda_.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions") != wanted:
        lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=wanted)
        yield f"reserved concurrency of function {name}, {wanted}"


def _method(client: Client, stack: str, logical_id: str, template: Template) -> Iterator[str]:
    """The method's own validator, which exists in the embedded cloud only when it is made by API."""
    properties = template["Resources"][logical_id]["Properties"]
    validator, path = (
        template["Resources"][properties[key]["Ref"]]["Properties"] for key in ("RequestValidatorId", "ResourceId")
    )

    def physical(reference: Mapping[str, str]) -> str:
        described = client("cloudformation").describe_stack_resource(
            StackName=stack, LogicalResourceId=reference["Ref"]
        )
        return described["StackResourceDetail"]["PhysicalResourceId"]

    gateway, api = client("apigateway"), physical(properties["RestApiId"])
    method = {
        "restApiId": api,
        "resourceId": physical(properties["ResourceId"]),
        "httpMethod": properties["HttpMethod"],
    }
    there = {each["id"] for each in gateway.get_request_validators(restApiId=api).get("items", [])}
    if gateway.get_method(**method).get("requestValidatorId") in there:
        return
    made = gateway.create_request_validator(
        restApiId=api,
        name=validator["Name"],
        validateRequestBody=validator.get("ValidateRequestBody", False),
        validateRequestParameters=validator.get("ValidateRequestParameters", False),
    )
    change = {"op": "replace", "path": "/requestValidatorId", "value": made["id"]}
    gateway.update_method(**method, patchOperations=[change])
    yield f"validation of {properties['HttpMethod']} /{path['PathPart']}"
