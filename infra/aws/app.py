"""The CDK program: `cdk deploy` runs it, and so does `wordup deploy`. It asks no account anything.

Context, each optional: `-c name=NAME`, `-c profile=PROFILE` replace wordup.toml's own; `-c embedded=true` is for the
embedded cloud, which runs functions on this machine's own processor, has one region and does not take every stack;
`-c code=PATH` is the function's package, built already; `-c spec=JSON` is a whole DeploymentSpec, read and checked
already; `-c nag=true` has cdk-nag look at it.
"""

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import msgspec
from aws_cdk import aws_lambda as lambda_

from infra import inference, package, spec
from infra.aws import nag, names
from infra.aws.account import AccountStack
from infra.aws.api import ApiStack
from infra.aws.data import DataStack
from infra.aws.edge import EdgeStack
from infra.aws.guard import GuardStack
from infra.aws.inference import InferenceStack
from infra.aws.operations import OperationsStack
from infra.local import ministack
from infra.package import Architecture
from wordup.errors import WordUpError


def stacks(app: cdk.App, deployment: spec.DeploymentSpec, *, code: Path, embedded: bool = False) -> None:
    """The whole deployment. `code` is the function's package: a zip file or a folder."""
    region = ministack.REGION if embedded else deployment.aws.region
    left_out = names.account_only(deployment) if embedded else {}
    account = AccountStack(app, region=region)
    found: list[cdk.Stack] = [DataStack(app, deployment, region=region)]
    if deployment.profile == "production":
        found.append(OperationsStack(app, deployment, region=region))
        if names.guard_stack(deployment) not in left_out:
            found.append(GuardStack(app, deployment, region=region))
    api = ApiStack(
        app,
        deployment,
        region=region,
        code=lambda_.Code.from_asset(str(code)),
        architecture=architecture(embedded=embedded),
        embedded=embedded,
    )
    found.append(api)
    if names.has_edge(deployment) and names.edge_stack(deployment) not in left_out:
        found.append(EdgeStack(app, deployment, region=region, stage=api.stage))
    endpoints = inference.on(deployment.inference, "aws")
    if endpoints and names.inference_stack(deployment) not in left_out:
        found.append(InferenceStack(app, deployment, endpoints, region=region))
    for before, after in pairwise([account, *found]):
        after.add_stack_dependency(before)
    for stack in found:
        for key, value in {names.DEPLOYMENT_TAG: deployment.name, **deployment.tags}.items():
            cdk.Tags.of(stack).add(key, value)


def architecture(*, embedded: bool) -> Architecture:
    """arm64 is the cheaper of Lambda's two."""
    return package.machine() if embedded else "arm64"


def main() -> None:
    app = cdk.App()
    context = app.node.try_get_context
    embedded = context("embedded") == "true"
    try:
        deployment = _spec(context)
        code = context("code") or package.build(
            "aws", architecture(embedded=embedded), embeddings=deployment.bot.embeddings
        )
        stacks(app, deployment, code=Path(code), embedded=embedded)
    except WordUpError as error:
        sys.exit(f"{error.sentence} {error.mend}")
    if context("nag") == "true":
        nag.examine(app, deployment)
    app.synth()


def _spec(context: Callable[[str], Any]) -> spec.DeploymentSpec:
    if whole := context("spec"):
        return msgspec.json.decode(whole, type=spec.DeploymentSpec)
    return spec.load(name=context("name"), profile=context("profile"))


if __name__ == "__main__":
    main()
