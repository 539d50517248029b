"""Where the GPU endpoints of a deployment answer, asked of the cloud by the operator's own tools."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from infra.aws import names
from infra.checks import answer
from infra.command import run
from infra.errors import DeploymentError
from infra.inference import OUTPUT, SCORING_ROUTE, Inference
from infra.spec import DeploymentSpec
from infra.targets import open_target
from wordup.errors import ConfigurationError


class Address(NamedTuple):
    """`adapter` is a name in `wordup.bootstrap.ENDPOINTS`, `arguments` what that class is opened with."""

    adapter: str
    arguments: Mapping[str, Any]


def find(spec: DeploymentSpec, name: str) -> Address:
    """Raises ConfigurationError, DeploymentError."""
    if name not in spec.inference:
        known = ", ".join(spec.inference) or "none yet: docs/inference.md says how"
        raise ConfigurationError("--endpoint", f"wordup.toml has no [inference.{name}].", mend=f"It has {known}.")
    endpoint = spec.inference[name]
    match endpoint.on:
        case "sagemaker":
            return Address("sagemaker", {"name": names.endpoint(spec, name), "region": spec.aws.region})
        case "sagemaker_async":
            raise DeploymentError(
                f"{name} answers into a bucket, and nobody can wait for it here.",
                mend="Call InvokeEndpointAsync with AWS's own tools, or deploy it on sagemaker.",
            )
        case "cloud_run":
            return Address("http", {"url": _deployed(spec, name, endpoint) + SCORING_ROUTE, "authorization": _caller})
        case "vertex":
            resource = _deployed(spec, name, endpoint)
            command = ["gcloud", "ai", "endpoints", "describe", resource, "--region", spec.gcp.region]
            host = run([*command, "--format", "value(dedicatedEndpointDns)"]).strip()
            return Address("vertex", {"url": f"https://{host}/v1/{resource}"})
        case "azure_ml":
            shown = answer(
                ["az", "resource", "show", "--ids", _deployed(spec, name, endpoint), "--output", "json"],
            )
            return Address("azure_ml", {"url": shown["properties"]["scoringUri"]})


async def _caller() -> str:
    return f"Bearer {run(['gcloud', 'auth', 'print-identity-token']).strip()}"


def _deployed(spec: DeploymentSpec, name: str, endpoint: Inference) -> str:
    outputs = open_target(endpoint.limits.cloud, spec).outputs()
    if found := outputs.get(f"{OUTPUT}{name}"):
        return found
    raise DeploymentError(
        f"{name} is not deployed.",
        mend=f"Push its image, name it in wordup.toml, then: wordup deploy --to {endpoint.limits.cloud}",
    )
