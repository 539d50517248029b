"""`[inference.NAME]` of wordup.toml: GPU endpoints of the one inference image, off where no such table stands.

What a platform allows is in PLATFORMS; docs/inference.md says what the server itself does with its settings.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from wordup.errors import ConfigurationError

Platform = Literal["sagemaker", "sagemaker_async", "vertex", "cloud_run", "azure_ml"]
PORT = 8080
# The server's own routes, see docs/inference.md.
PREDICT_ROUTE, HEALTH_ROUTE = "/predict", "/health"
LIVENESS_ROUTE, READINESS_ROUTE, SCORING_ROUTE = "/livez", "/readyz", "/score"
# What a stack's output of an endpoint's address is called, before its name.
OUTPUT = "inference_"
# Loading weights and warming kernels up takes minutes, and every platform gives up on a silent start sooner or later.
START_SECONDS = 1_800
# What the server needs after a request's last second to send its answer before the platform hangs up.
ANSWER_SECONDS = 5
DIGEST = "^(sha256:[0-9a-f]{64})?$"
SCHEMES = {"aws": "s3", "gcp": "gs", "azure": "az"}
_HUB = re.compile(r"hub:(?P<model>[^@]+)@[0-9a-f]{7,40}")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a platform allows: seconds of a request, instances at least, where models come from, a body's bytes."""

    cloud: Literal["aws", "gcp", "azure"]
    seconds: int
    least_instances: int
    models: tuple[str, ...]
    body_bytes: int
    machine: str


# Seconds and bodies: the platforms' quotas. SageMaker's InvokeEndpoint takes 6,291,456 bytes by the SDK's model and a
# minute (the streamed eight); an asynchronous one takes up to an hour, and 1 GB by its bucket; Vertex AI's dedicated
# endpoints 10 MB and an hour; Cloud Run 32 MiB and an hour; Azure ML three minutes, whatever is asked of it.
PLATFORMS: dict[Platform, Limits] = {
    "sagemaker": Limits(
        cloud="aws", seconds=60, least_instances=1, models=("s3", "hub"), body_bytes=6_000_000, machine="ml.g6.xlarge"
    ),
    "sagemaker_async": Limits(
        cloud="aws",
        seconds=3_600,
        least_instances=0,
        models=("s3", "hub"),
        body_bytes=1_000_000_000,
        machine="ml.g6.xlarge",
    ),
    "vertex": Limits(
        cloud="gcp",
        seconds=3_600,
        least_instances=1,
        models=("hub",),
        body_bytes=10_000_000,
        machine="g2-standard-8",
    ),
    "cloud_run": Limits(
        cloud="gcp",
        seconds=3_600,
        least_instances=0,
        models=("gs", "hub"),
        body_bytes=32_000_000,
        machine="nvidia-l4",
    ),
    "azure_ml": Limits(
        cloud="azure",
        seconds=180,
        least_instances=1,
        models=("az", "hub"),
        body_bytes=6_000_000,
        machine="Standard_NC24ads_A100_v4",
    ),
}


class Inference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One endpoint. Its cloud follows from `on`."""

    on: Annotated[Platform, Meta(description="The platform that runs it.")]
    model: Annotated[
        str,
        Meta(
            description="`hub:owner/name@revision` (a commit), or a prefix in the platform's own object storage"
            " (`s3://`, `gs://`, `az://`; none on Vertex AI).",
            pattern="^(hub|s3|gs|az):.+$",
        ),
    ]
    image: Annotated[
        str,
        Meta(
            description="The image in the deployment's own registry, by its digest, `sha256:...`; empty: only the"
            " registry is made, to push the image to.",
            pattern=DIGEST,
        ),
    ] = ""
    machine: Annotated[
        str, Meta(description="The platform's name of an instance type, or of Cloud Run's GPU; empty: a small GPU.")
    ] = ""
    min_instances: Annotated[
        int, Meta(description="Instances that always run, and cost; 0 where the platform scales to nothing.", ge=0)
    ] = 1
    max_instances: Annotated[int, Meta(description="Instances at most.", ge=1, le=100)] = 1
    max_batch: Annotated[int, Meta(description="Requests in one run of the model.", ge=1, le=64)] = 8
    max_queue: Annotated[
        int, Meta(description="Requests that an instance lets wait; the next one is told to come back.", ge=1, le=1_000)
    ] = 16
    timeout_seconds: Annotated[
        int, Meta(description="For a request, waiting included; bounded by the platform.", ge=1, le=3_600)
    ] = 55
    inputs: Annotated[
        list[str], Meta(description="Buckets or prefixes that pictures may be read from, by address; none by default.")
    ] = []
    outputs: Annotated[
        list[str], Meta(description="Buckets or prefixes that files may be written to; none by default.")
    ] = []
    variables: Annotated[
        dict[Annotated[str, Meta(pattern="^(INFERENCE|AZURE_STORAGE)_[A-Z0-9_]+$")], str],
        Meta(description="More of the server's settings, see [the inference server](inference.md); never a secret."),
    ] = {}

    @property
    def limits(self) -> Limits:
        return PLATFORMS[self.on]

    @property
    def machine_type(self) -> str:
        return self.machine or self.limits.machine

    @property
    def concurrency(self) -> int:
        """What one instance takes at a time: behind a platform's own limit of one, every batch would be of one."""
        return self.max_batch + self.max_queue

    @property
    def hub_model(self) -> str:
        """`owner/name` of a model of the hub."""
        found = _HUB.fullmatch(self.model)
        return found["model"] if found else ""


# What the fields above say, and what must not stand in a template.
_DECIDED = frozenset(
    f"INFERENCE_{name}"
    for name in ("MODEL", "PORT", "HOST", "MAX_BATCH", "MAX_QUEUE", "TIMEOUT_SECONDS", "INPUT_URIS", "OUTPUT_URIS")
)
_SECRET = frozenset({"INFERENCE_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN"})


def check(endpoints: Mapping[str, Inference]) -> None:
    """Raises ConfigurationError naming the key at fault."""
    for name, endpoint in endpoints.items():
        key = f"inference.{name}"
        _check_model(key, endpoint)
        _check_scale(key, endpoint)
        _check_objects(key, endpoint)
        _check_variables(key, endpoint)


def _check_model(key: str, endpoint: Inference) -> None:
    scheme = endpoint.model.partition(":")[0]
    if scheme not in endpoint.limits.models:
        allowed = " or ".join(f"{each}:" for each in endpoint.limits.models)
        raise _wrong(f"{key}.model", f"{endpoint.on} takes no model from {scheme}:.", f"Name one from {allowed}")
    if scheme == "hub" and not endpoint.hub_model:
        raise _wrong(
            f"{key}.model", "A hub's model needs its revision, a commit.", "Write hub:owner/name@<commit of the model>."
        )


def _check_scale(key: str, endpoint: Inference) -> None:
    most = endpoint.limits.seconds - ANSWER_SECONDS
    if endpoint.timeout_seconds > most:
        raise _wrong(
            f"{key}.timeout_seconds",
            f"{endpoint.on} ends a request after {endpoint.limits.seconds} s, and the server needs {ANSWER_SECONDS}.",
            f"Set it to {most} or less" + (", or take sagemaker_async." if endpoint.on == "sagemaker" else "."),
        )
    if endpoint.min_instances < endpoint.limits.least_instances:
        raise _wrong(f"{key}.min_instances", f"{endpoint.on} does not scale to nothing.", "Set it to 1 or more.")
    if endpoint.max_instances < endpoint.min_instances:
        raise _wrong(f"{key}.max_instances", "It is below min_instances.", "Raise it.")


def _check_objects(key: str, endpoint: Inference) -> None:
    scheme = SCHEMES[endpoint.limits.cloud]
    for field, uris in (("inputs", endpoint.inputs), ("outputs", endpoint.outputs)):
        for uri in uris:
            if not uri.startswith(f"{scheme}://"):
                raise _wrong(f"{key}.{field}", f"{uri} is not the cloud's own storage.", f"Name {scheme}://bucket/...")


def _check_variables(key: str, endpoint: Inference) -> None:
    for variable in endpoint.variables:
        if variable in _DECIDED:
            raise _wrong(f"{key}.variables", f"{variable} follows from the other keys.", "Leave it out.")
        if variable in _SECRET:
            raise _wrong(
                f"{key}.variables",
                f"{variable} is a secret, and would stand in a template.",
                "Leave it out: the platform asks callers who they are, and the server's role opens its buckets.",
            )


def _wrong(key: str, sentence: str, mend: str) -> ConfigurationError:
    return ConfigurationError(key, f"{key}: {sentence}", mend=mend)


def on(endpoints: Mapping[str, Inference], cloud: str) -> dict[str, Inference]:
    """Those that this cloud runs."""
    return {name: endpoint for name, endpoint in endpoints.items() if endpoint.limits.cloud == cloud}


def variables(endpoint: Inference) -> dict[str, str]:
    """The server's environment. No value is a secret. SageMaker mounts a model of S3 where the server looks first."""
    mounted = endpoint.limits.cloud == "aws" and endpoint.model.startswith("s3:")
    values = {
        "INFERENCE_MODEL": "" if mounted else endpoint.model,
        "INFERENCE_MAX_BATCH": str(endpoint.max_batch),
        "INFERENCE_MAX_QUEUE": str(endpoint.max_queue),
        "INFERENCE_TIMEOUT_SECONDS": str(endpoint.timeout_seconds),
        "INFERENCE_INPUT_URIS": ",".join(endpoint.inputs),
        "INFERENCE_OUTPUT_URIS": ",".join(endpoint.outputs),
        "INFERENCE_BODY_BYTES": str(endpoint.limits.body_bytes),
        "INFERENCE_RESPONSE_BYTES": str(endpoint.limits.body_bytes),
    }
    return {name: value for name, value in values.items() if value} | endpoint.variables


def bucket(uri: str) -> tuple[str, str]:
    """An address's bucket, and the prefix in it without slashes around it."""
    name, _, prefix = uri.partition("://")[2].partition("/")
    return name, prefix.strip("/")
