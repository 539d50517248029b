"""Where the AWS program is deployed to."""

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from infra.aws import names
from infra.package import Architecture
from infra.spec import DeploymentSpec
from infra.targets import Report

Client = Callable[[str], Any]


class Place(Protocol):
    """An account of AWS, or what stands in for one."""

    is_billed: bool
    # Whether the program is synthesized for the embedded cloud.
    embedded: bool
    architecture: Architecture

    def exists(self) -> bool:
        """Whether anything can be deployed there already."""
        ...

    def environment(self) -> dict[str, str]:
        """The whole environment of a process that is to reach it, AWS_REGION included."""
        ...

    def url(self, api: str) -> str: ...

    def prepare(self, client: Client) -> None:
        """What a deployment there needs after `cdk bootstrap`."""
        ...

    def finish(self, client: Client, templates: Mapping[str, Mapping[str, Any]], report: Report) -> None:
        """What it needs after CloudFormation."""
        ...

    def dissolve(self, client: Client, report: Report) -> bool:
        """Ends the place itself where nothing is deployed there any more, and tells whether it did."""
        ...


class Account:
    """The one that the operator's credentials open. arm64 is the cheaper of Lambda's two architectures."""

    is_billed = True
    embedded = False
    architecture: Architecture = "arm64"

    def __init__(self, spec: DeploymentSpec) -> None:
        self._region = spec.aws.region
        self._domain = spec.aws.domain

    def exists(self) -> bool:
        return True

    def environment(self) -> dict[str, str]:
        return {**os.environ, "AWS_REGION": self._region, "AWS_DEFAULT_REGION": self._region}

    def url(self, api: str) -> str:
        if self._domain:
            return f"https://{self._domain}/"
        suffix = "amazonaws.com.cn" if self._region.startswith("cn-") else "amazonaws.com"
        return f"https://{api}.execute-api.{self._region}.{suffix}/{names.STAGE}/"

    def prepare(self, client: Client) -> None:
        pass

    def finish(self, client: Client, templates: Mapping[str, Mapping[str, Any]], report: Report) -> None:
        pass

    def dissolve(self, client: Client, report: Report) -> bool:  # noqa: ARG002 - an account stays
        return False
