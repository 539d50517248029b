"""cdk-nag's AwsSolutions rules over the whole program, and beside each rule that is not kept, why.

`cdk synth -c nag=true` runs them; synthesis fails with a finding that has no reason here. Only the tests' environment
has cdk-nag.
"""

from collections.abc import Iterator
from typing import cast

import aws_cdk as cdk

from infra import inference
from infra.aws import names
from infra.aws.inference import objects, readable
from infra.aws.rights import any_resource
from infra.spec import DeploymentSpec

_PACK = "AwsSolutions"
_ARN = "arn:<AWS::Partition>"
_MANAGED = f"Policy::{_ARN}:iam::aws:policy/service-role"


def examine(app: cdk.App, spec: DeploymentSpec) -> None:
    from cdk_nag import AwsSolutionsChecks

    cdk.Validations.of(app).add_plugins(cast(cdk.IPolicyValidationPlugin, AwsSolutionsChecks(app)))
    for stack, rule, reason in acknowledged(spec):
        if found := app.node.try_find_child(stack):
            cdk.Validations.of(found).acknowledge(cdk.Acknowledgment(id=f"{_PACK}::{_PACK}-{rule}", reason=reason))


def _endpoints(spec: DeploymentSpec) -> Iterator[tuple[str, str, str]]:
    """Of the stack of GPU endpoints."""
    stack = names.inference_stack(spec)
    yield (
        stack,
        "IAM5[Resource::*]",
        "The registry's password is the account's: ecr:GetAuthorizationToken takes no resource.",
    )
    for name, endpoint in inference.on(spec.inference, "aws").items():
        log = f"/aws/sagemaker/Endpoints/{names.endpoint(spec, name)}"
        yield (
            stack,
            f"IAM5[Resource::{_ARN}:logs:{spec.aws.region}:<AWS::AccountId>:log-group:{log}:*]",
            "The streams of its own log group, which SageMaker names anew for every instance.",
        )
        for uri in (*readable(endpoint), *endpoint.outputs):
            yield stack, f"IAM5[Resource::{objects(uri)}]", "The objects below a prefix that wordup.toml names."
        if endpoint.on == "sagemaker_async":
            yield stack, f"IAM5[Resource::<{name}Answers.Arn>/*]", "The objects of the bucket that is its own."
            yield stack, "S1", "Answers stay a week, in a bucket that only the endpoint and its callers may read."


def acknowledged(spec: DeploymentSpec) -> Iterator[tuple[str, str, str]]:
    """The stack, the rule, the reason."""
    yield (
        names.ACCOUNT_STACK,
        f"IAM4[{_MANAGED}/AmazonAPIGatewayPushToCloudWatchLogs]",
        "API Gateway's own policy for its own service: it follows what API Gateway needs to write its logs.",
    )
    yield (
        names.guard_stack(spec),
        f"IAM4[{_MANAGED}/AWSCodeDeployRoleForLambdaLimited]",
        "CodeDeploy's own policy for its own service, the narrower of its two for Lambda.",
    )
    yield (
        names.data_stack(spec),
        "SMG4",
        "Rotation is the operator's command, which publishes a key before it signs; no schedule makes a provider's.",
    )
    if spec.profile == "dev":
        yield names.data_stack(spec), "DDB3", "`dev` holds nothing that is worth a backup; `production` has it."
    if inference.on(spec.inference, "aws"):
        yield from _endpoints(spec)
    api = names.api_stack(spec)
    yield (
        api,
        f"IAM5[Resource::{_ARN}:logs:{spec.aws.region}:<AWS::AccountId>:log-group:{names.function_log(spec)}:*]",
        "The streams of its own log group, which Lambda names anew for every instance.",
    )
    if reasons := any_resource(spec):
        yield api, "IAM5[Resource::*]", " ".join(reasons.values())
    yield (
        api,
        "L1",
        "Every home of the bot runs Python 3.13: for that the lock is resolved, compiled and tested.",
    )
    yield (
        api,
        "APIG2",
        "`POST /chat` has a validator; the bot checks every other body itself and names the field that is wrong.",
    )
    yield (
        api,
        "APIG3",
        "In `production` the edge's stack associates the firewall, unless wordup.toml says no; `dev` has none.",
    )
    yield (
        api,
        "APIG6",
        "Execution logs hold headers and bodies, tokens and text among them; the access log has one line a request.",
    )
    why = "The bot authorizes callers itself, on every home by the same session tokens; the page and sign-in are open."
    yield api, "APIG4", why
    yield api, "COG4", why
