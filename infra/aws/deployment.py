"""The bot in an AWS account: deploys it, reads it, removes it."""

import contextlib
import functools
import json
import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import botocore.session
import msgspec
from botocore.exceptions import ClientError

from infra import package
from infra.aws import limits, names, templates, versions
from infra.aws.cdk import CDK, synthesize
from infra.aws.errors import code, translated
from infra.aws.inventory import deployed_template, stack_named
from infra.aws.place import Account, Place
from infra.aws.removal import destroy
from infra.spec import ROOT, DeploymentSpec, environment
from infra.targets import Change, Removal, Report, Resource
from wordup.config import Settings

FUNCTIONS = ROOT / "functions"


def on_account(spec: DeploymentSpec) -> "AWSDeployment":
    return AWSDeployment(spec, Account(spec))


class AWSDeployment:
    """The AWS program at a place; see `infra.targets.Target`."""

    def __init__(self, spec: DeploymentSpec, place: Place) -> None:
        self._spec = spec
        self._place = place
        self._session = botocore.session.Session()
        self._clients: dict[str, Any] = {}
        self._built: dict[bool, Path] = {}
        self.is_billed = place.is_billed

    def check(self) -> None:
        limits.check(self._spec)
        if self._place.is_billed:
            limits.check_for_account(self._spec)
        with translated():
            self.client("sts").get_caller_identity()

    def plan(self, report: Report, *, offline: bool) -> list[Resource]:
        return templates.resources(templates.read(self._build(report, packaged=not offline)))

    def changes(self, report: Report) -> list[Change]:
        built = templates.read(self._build(report))
        there = self._place.exists()
        with translated():
            return [
                change
                for stack, template in built.items()
                for change in templates.changes(stack, template, deployed_template(self.client, stack) if there else {})
            ]

    def deploy(self, report: Report) -> None:
        built = self._build(report)
        cdk = CDK(self._environment)
        with translated():
            if not stack_named(self.client, names.TOOLKIT):
                report.step("Preparing the account for the CDK")
                account = self.client("sts").get_caller_identity()["Account"]
                cdk.bootstrap(built, account, self._environment["AWS_REGION"], report)
            self._place.prepare(self.client)
            report.step("Deploying the stacks")
            cdk.deploy(built, report)
            self._place.finish(self.client, templates.read(built), report)
            versions.prune(self.client, self._spec)
        if self._place.embedded:
            for stack, holds in names.account_only(self._spec).items():
                report.note(f"Left out here, and deployed to an account only: {stack} ({holds})")

    def outputs(self) -> Mapping[str, str]:
        if not self._place.exists():
            return {}
        with translated():
            stack = stack_named(self.client, names.api_stack(self._spec))
        found = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
        if "ApiId" not in found:
            return {}
        region = self._environment["AWS_REGION"]
        return {"url": self._place.url(found["ApiId"]), "region": region, "table": names.table(self._spec)}

    def read_secret(self) -> dict[str, Any]:
        with translated():
            try:
                text = self.client("secretsmanager").get_secret_value(SecretId=names.secret(self._spec))["SecretString"]
            except ClientError as error:
                if code(error) != "ResourceNotFoundException":  # it is there, and has no value yet
                    raise
                return {}
        return json.loads(text) if text else {}

    def write_secret(self, value: Mapping[str, Any]) -> None:
        with translated():
            self.client("secretsmanager").put_secret_value(
                SecretId=names.secret(self._spec), SecretString=json.dumps(value)
            )

    def secret_reference(self, field: str) -> str:
        return f"aws:{names.secret(self._spec)}#{field}"

    @contextlib.contextmanager
    def connected(self) -> Generator[Settings]:
        with self._surroundings():
            yield Settings.from_env(environment(self._spec, "aws"))

    def admission(self) -> Mapping[str, str]:
        return {}  # everyone may call the API

    def destroy(self, report: Report, *, delete_data: bool) -> Removal:
        if not self._place.exists():
            return Removal(removed=[], kept=[], left=[])
        with translated():
            removal = destroy(
                self.client, self._spec, report, delete_data=delete_data, is_account=self._place.is_billed
            )
            if not removal.left and self._place.dissolve(self.client, report):
                return msgspec.structs.replace(removal, kept=[])
        return removal

    def client(self, service: str) -> Any:
        """A client of the deployment's account and region."""
        if service not in self._clients:
            with self._surroundings():
                self._clients[service] = self._session.create_client(service, region_name=os.environ["AWS_REGION"])
        return self._clients[service]

    @functools.cached_property
    def _environment(self) -> dict[str, str]:
        return self._place.environment()

    @contextlib.contextmanager
    def _surroundings(self) -> Generator[None]:
        """The process's environment is the place's for a while, because AWS's SDKs look nowhere else."""
        mine, place = dict(os.environ), self._environment
        try:
            os.environ.clear()
            os.environ.update(place)
            yield
        finally:
            os.environ.clear()
            os.environ.update(mine)

    def _build(self, report: Report, *, packaged: bool = True) -> Path:
        """The folder of templates. `packaged`: with the function's package, which may have to be downloaded, else with
        its sources in the package's place."""
        if packaged not in self._built:
            code = FUNCTIONS
            if packaged:
                report.step("Packaging the function")
                code = package.build("aws", self._place.architecture, embeddings=self._spec.bot.embeddings)
            report.step("Synthesizing the stacks")
            self._built[packaged] = synthesize(self._spec, code, embedded=self._place.embedded)
        return self._built[packaged]
