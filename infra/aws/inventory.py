"""What of a deployment is there, asked of each service itself and not of CloudFormation."""

import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from infra.aws import names
from infra.aws.errors import code
from infra.spec import DeploymentSpec

Client = Callable[[str], Any]

_ABSENT = {"NotFoundException", "ResourceNotFoundException"}


def present(client: Client, spec: DeploymentSpec) -> list[str]:
    """`<kind> <name>` of everything that is there under the deployment's names."""
    stacks = (names.api_stack(spec), names.data_stack(spec))
    found = [f"stack {stack}" for stack in stacks if stack_named(client, stack)]
    if _exists(lambda: client("lambda").get_function(FunctionName=names.function(spec))):
        found.append(f"function {names.function(spec)}")
    apis = client("apigateway").get_paginator("get_rest_apis").paginate()
    found += [f"API {api['name']}" for page in apis for api in page["items"] if api["name"] == spec.name]
    if _exists(lambda: client("dynamodb").describe_table(TableName=names.table(spec))):
        found.append(f"table {names.table(spec)}")
    if _exists(lambda: client("secretsmanager").describe_secret(SecretId=names.secret(spec))):
        found.append(f"secret {names.secret(spec)}")
    for wanted in (names.function_log(spec), names.access_log(spec)):
        groups = client("logs").describe_log_groups(logGroupNamePrefix=wanted)["logGroups"]
        found += [f"log group {wanted}" for group in groups if group["logGroupName"] == wanted]
    return found


def stack_named(client: Client, name: str) -> dict[str, Any]:
    """CloudFormation's description of a stack; empty where there is none."""
    try:
        return client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if code(error) != "ValidationError":
            raise
        return {}


def deployments(client: Client) -> set[str]:
    """The names of all deployments of this account and region."""
    pages = client("cloudformation").get_paginator("describe_stacks").paginate()
    tags = [tag for page in pages for stack in page["Stacks"] for tag in stack.get("Tags", [])]
    return {tag["Value"] for tag in tags if tag["Key"] == names.DEPLOYMENT_TAG}


def deployed_template(client: Client, stack: str) -> dict[str, Any]:
    """A stack's template; empty where there is none."""
    try:
        body = client("cloudformation").get_template(StackName=stack)["TemplateBody"]
    except ClientError as error:
        if code(error) != "ValidationError":
            raise
        return {}
    return json.loads(body) if isinstance(body, str) else body


def _exists(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except ClientError as error:
        if code(error) not in _ABSENT:
            raise
        return False
    return True
