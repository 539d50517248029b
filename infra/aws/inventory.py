"""What of a deployment is there, asked of each service itself and not of CloudFormation."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from infra.aws import names
from infra.aws.errors import code
from infra.spec import DeploymentSpec

Client = Callable[[str], Any]

_ABSENT = {"ApplicationDoesNotExistException", "NotFoundException", "ResourceNotFoundException"}


def present(client: Client, spec: DeploymentSpec, *, is_account: bool) -> list[str]:
    """`<kind> <name>` of everything that is there under the deployment's names. `is_account`: not the embedded cloud,
    which has not all of the services."""
    found = [f"stack {stack}" for stack in names.stacks(spec) if stack_named(client, stack)]
    found += _function_and_api(client, spec)
    found += _watchers(client, spec)
    if is_account:
        found += _guards(client, spec)
    return [*found, *_data(client, spec)]


def _function_and_api(client: Client, spec: DeploymentSpec) -> Iterator[str]:
    if _found(lambda: client("lambda").get_function(FunctionName=names.function(spec))):
        yield f"function {names.function(spec)}"
    apis = client("apigateway").get_paginator("get_rest_apis").paginate()
    yield from (f"API {api['name']}" for page in apis for api in page["items"] if api["name"] == spec.name)


def _watchers(client: Client, spec: DeploymentSpec) -> Iterator[str]:
    cloudwatch = client("cloudwatch")
    alarms = cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=names.alarm(spec, ""))
    ours = {names.alarm(spec, kind) for kind in names.ALARMS}
    yield from (
        f"alarm {alarm['AlarmName']}" for page in alarms for alarm in page["MetricAlarms"] if alarm["AlarmName"] in ours
    )
    boards = cloudwatch.list_dashboards(DashboardNamePrefix=names.dashboard(spec))["DashboardEntries"]
    yield from (
        f"dashboard {board['DashboardName']}" for board in boards if board["DashboardName"] == names.dashboard(spec)
    )
    topics = client("sns").get_paginator("list_topics").paginate()
    arns = [topic["TopicArn"] for page in topics for topic in page["Topics"]]
    yield from (f"topic {names.topic(spec)}" for arn in arns if arn.rpartition(":")[2] == names.topic(spec))


def _guards(client: Client, spec: DeploymentSpec) -> Iterator[str]:
    acls = client("wafv2").list_web_acls(Scope="REGIONAL", Limit=100)["WebACLs"]
    yield from (f"firewall {acl['Name']}" for acl in acls if acl["Name"] == names.web_acl(spec))
    if _found(lambda: client("codedeploy").get_application(applicationName=names.rollout(spec))):
        yield f"CodeDeploy application {names.rollout(spec)}"
    account = client("sts").get_caller_identity()["Account"]
    if _found(lambda: client("budgets").describe_budget(AccountId=account, BudgetName=names.budget(spec))):
        yield f"budget {names.budget(spec)}"


def _data(client: Client, spec: DeploymentSpec) -> Iterator[str]:
    if _found(lambda: client("dynamodb").describe_table(TableName=names.table(spec))):
        yield f"table {names.table(spec)}"
    # One that waits for its deletion is gone for everybody who would read it.
    secret = _found(lambda: client("secretsmanager").describe_secret(SecretId=names.secret(spec)))
    if secret and "DeletedDate" not in secret:
        yield f"secret {names.secret(spec)}"
    for wanted in (names.function_log(spec), names.access_log(spec)):
        groups = client("logs").describe_log_groups(logGroupNamePrefix=wanted)["logGroups"]
        yield from (f"log group {wanted}" for group in groups if group["logGroupName"] == wanted)


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


def _found(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The description that is asked for; empty where there is no such thing."""
    try:
        return ask()
    except ClientError as error:
        if code(error) not in _ABSENT:
            raise
        return {}
