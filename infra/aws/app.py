"""The CDK program: `cdk deploy` runs it, and so does `wordup deploy`. It asks no account anything.

Context, each optional: `-c name=NAME`, `-c profile=PROFILE` replace wordup.toml's own; `-c embedded=true` is for the
embedded cloud, which runs functions on this machine's own processor and has one region; `-c code=PATH` is the
function's package, built already.
"""

import sys
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_

from infra import package, spec
from infra.aws import names
from infra.aws.account import AccountStack
from infra.aws.api import ApiStack
from infra.aws.data import DataStack
from infra.local import ministack
from infra.package import Architecture
from wordup.errors import WordUpError


def stacks(app: cdk.App, deployment: spec.DeploymentSpec, *, code: Path, embedded: bool = False) -> list[cdk.Stack]:
    """The whole deployment. `code` is the function's package: a zip file or a folder."""
    region = ministack.REGION if embedded else deployment.aws.region
    account = AccountStack(app, region=region)
    data = DataStack(app, deployment, region=region)
    api = ApiStack(
        app,
        deployment,
        region=region,
        code=lambda_.Code.from_asset(str(code)),
        architecture=architecture(embedded=embedded),
    )
    api.add_stack_dependency(account)
    api.add_stack_dependency(data)
    for stack in (data, api):
        for key, value in {names.DEPLOYMENT_TAG: deployment.name, **deployment.tags}.items():
            cdk.Tags.of(stack).add(key, value)
    return [account, data, api]


def architecture(*, embedded: bool) -> Architecture:
    """arm64 is the cheaper of Lambda's two."""
    return package.machine() if embedded else "arm64"


def main() -> None:
    app = cdk.App()
    context = app.node.try_get_context
    embedded = context("embedded") == "true"
    try:
        deployment = spec.load(name=context("name"), profile=context("profile"))
        code = context("code") or package.build("aws", architecture(embedded=embedded))
        stacks(app, deployment, code=Path(code), embedded=embedded)
    except WordUpError as error:
        sys.exit(f"{error.sentence} {error.mend}")
    app.synth()


if __name__ == "__main__":
    main()
