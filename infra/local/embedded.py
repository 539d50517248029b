"""The embedded cloud as a place for the AWS program: a real `cdk deploy`, to an AWS on this machine."""

import contextlib
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra import package
from infra.aws import names
from infra.aws.deployment import AWSDeployment
from infra.aws.inventory import deployments, stack_named
from infra.aws.place import Client
from infra.errors import DeploymentError
from infra.local import ignored, ministack
from infra.local.emulator import EmulatorError
from infra.spec import ROOT, DeploymentSpec
from infra.targets import Report

FOLDER = ROOT / ".local" / "aws"
# The port that stand-ins for AWS have by custom; another one where it is taken.
PORT = 4566


def deployment(spec: DeploymentSpec) -> AWSDeployment:
    return AWSDeployment(spec, Embedded(FOLDER))


class Embedded:
    """`folder` holds its whole state. It starts with the first deployment and ends with the last."""

    is_billed = False
    embedded = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.architecture: package.Architecture = package.machine()

    def exists(self) -> bool:
        return self._folder.exists()

    def environment(self) -> dict[str, str]:
        """Nothing in it leads to the operator's own accounts."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        return {**mine, **nowhere, "AWS_EC2_METADATA_DISABLED": "true", **self._ministack().environment}

    def url(self, api: str) -> str:
        # By path: Python does not resolve the names below localhost that an API has there.
        return f"{self._ministack().url}/_aws/execute-api/{api}/{names.STAGE}/"

    def prepare(self, client: Client) -> None:
        # The policy refuses whatever comes without TLS, which this cloud on the loopback interface has not.
        toolkit = stack_named(client, names.TOOLKIT)
        [bucket] = [output["OutputValue"] for output in toolkit["Outputs"] if output["OutputKey"] == "BucketName"]
        client("s3").delete_bucket_policy(Bucket=bucket)

    def finish(self, client: Client, templates: Mapping[str, Mapping[str, Any]], report: Report) -> None:
        for said in ignored.apply(client, templates):
            report.note(f"Applied by API what the embedded cloud ignores in a template: {said}")

    def dissolve(self, client: Client, report: Report) -> bool:
        if deployments(client):
            return False
        report.step("Stopping the embedded cloud")
        self._stop()
        shutil.rmtree(self._folder)
        return True

    def _ministack(self) -> ministack.MiniStack:
        if sys.platform != "linux":
            raise DeploymentError(
                "The embedded cloud runs the function's package by itself, and that is built for Linux.",
                mend="Run `wordup serve`, or deploy to a cloud.",
            )
        try:
            if running := ministack.running(self._folder):
                return running
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # secrets are in its state
            # It denies a function what its role does not allow, so that a missing right is missed here first.
            port = PORT if _is_free(PORT) else 0
            return ministack.start(self._folder, port=port, persist=True, enforce_iam=True)
        except EmulatorError as error:
            raise DeploymentError(str(error), mend="Run `make setup`, then deploy again.") from error

    def _stop(self) -> None:
        with contextlib.suppress(EmulatorError):  # killed after its time; its state goes anyway
            ministack.stop(self._folder)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex((ministack.HOST, port)) != 0
