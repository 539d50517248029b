"""What the function may do: each action on its own resource, and a wildcard only where an action takes nothing else."""

from collections.abc import Iterator
from typing import cast

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam

from infra.aws import names
from infra.spec import DeploymentSpec

# What the DynamoDB adapter calls in a turn. A transaction needs the actions of its items. Scan is the operator's.
TABLE_ACTIONS = ("DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem")
# What Lambda itself does with a function's role to put it into a VPC.
NETWORK_ACTIONS = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)
TRACE_ACTIONS = ("xray:PutTelemetryRecords", "xray:PutTraceSegments")


def any_resource(spec: DeploymentSpec) -> dict[tuple[str, ...], str]:
    """The actions that have the resource `*`, and why."""
    found: dict[tuple[str, ...], str] = {}
    if spec.profile == "production":
        found[TRACE_ACTIONS] = (
            "X-Ray has no resource that a trace could be written to; its write actions take `*` alone."
        )
    if spec.aws.subnet_ids:
        found[NETWORK_ACTIONS] = (
            "Lambda makes the network interfaces, whose ids nobody knows before, and the describing actions take `*`"
            " alone: https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html"
        )
    return found


def role(stack: Stack, spec: DeploymentSpec) -> iam.Role:
    return iam.Role(
        stack,
        "Role",
        assumed_by=cast(iam.IPrincipal, iam.ServicePrincipal("lambda.amazonaws.com")),
        inline_policies={"Function": iam.PolicyDocument(statements=[*_statements(stack, spec)])},
    )


def _statements(stack: Stack, spec: DeploymentSpec) -> Iterator[iam.PolicyStatement]:
    def arn(service: str, resource: str, name: str, separator: ArnFormat = ArnFormat.COLON_RESOURCE_NAME) -> str:
        return stack.format_arn(service=service, resource=resource, resource_name=name, arn_format=separator)

    def statement(resource: str, *actions: str) -> iam.PolicyStatement:
        return iam.PolicyStatement(actions=list(actions), resources=[resource])

    table = arn("dynamodb", "table", names.table(spec), ArnFormat.SLASH_RESOURCE_NAME)
    yield statement(table, *(f"dynamodb:{action}" for action in TABLE_ACTIONS))
    # Secrets Manager adds a hyphen and six characters to the name.
    secret = arn("secretsmanager", "secret", f"{names.secret(spec)}-??????")
    yield statement(secret, "secretsmanager:GetSecretValue")
    yield statement(
        arn("logs", "log-group", f"{names.function_log(spec)}:*"), "logs:CreateLogStream", "logs:PutLogEvents"
    )
    for actions in any_resource(spec):
        yield statement("*", *actions)
