"""Settings: every environment variable that this server reads, typed and bounded. The only reader of os.environ.

Ours are INFERENCE_<FIELD>; one that is no field is refused. The platforms' own (AIP_*, PORT, ...) give defaults
where ours are absent. The object-storage client and the CUDA libraries read their vendors' own variables.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from serving.errors import ConfigurationError

PREFIX = "INFERENCE_"
# Field -> the variables by which a platform tells the same, the first that is set wins. Sources: Vertex AI "custom
# container requirements"; Cloud Run "container runtime contract"; SageMaker multi-container contract; Azure ML
# "deploy a custom container".
PLATFORM = {
    "port": ("AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT", "PORT"),
    "predict_route": ("AIP_PREDICT_ROUTE",),
    "health_route": ("AIP_HEALTH_ROUTE",),
    "model": ("AIP_STORAGE_URI", "AZUREML_MODEL_DIR"),
}
# Where SageMaker mounts the model's artefacts (AWS developer guide, "Use your own inference code").
SAGEMAKER_MODEL = Path("/opt/ml/model")

Count = Annotated[int, Meta(ge=1)]
Route = Annotated[str, Meta(pattern=r"^/[A-Za-z0-9/:._-]*$")]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One field, one variable: `max_batch` is INFERENCE_MAX_BATCH."""

    model: Annotated[
        str,
        Meta(
            description="The models, separated by commas: a folder, an s3://, gs:// or az:// prefix, or"
            " hub:owner/name@revision."
        ),
    ] = ""
    model_cache: Annotated[str, Meta(description="Where models from object storage or the hub are kept.")] = "models"
    host: Annotated[str, Meta(description="The address to listen on; the image sets 0.0.0.0.")] = "127.0.0.1"
    port: Annotated[int, Meta(description="The port to listen on.", ge=0, le=65535)] = 8080
    predict_route: Annotated[Route, Meta(description="Vertex AI's predict route.")] = "/predict"
    health_route: Annotated[Route, Meta(description="Vertex AI's health route.")] = "/health"
    token: Annotated[
        str, Meta(description="A bearer token that predict routes ask for; empty: the platform's job.")
    ] = ""
    device: Annotated[Literal["auto", "cpu", "cuda"], Meta(description="auto: cuda where there is one.")] = "auto"
    threads: Annotated[int, Meta(description="CPU threads of the model; 0: the library's choice.", ge=0, le=256)] = 0
    compile: Annotated[bool, Meta(description="torch.compile of the repeated blocks, warmed up before ready.")] = False
    deterministic: Annotated[
        bool, Meta(description="Batch size 1 and deterministic kernels: equal bits for equal requests.")
    ] = False
    memory_bytes: Annotated[int, Meta(description="The memory budget in bytes; 0: the device's.", ge=0)] = 0
    max_queue: Annotated[Count, Meta(description="Requests that may wait.", le=10_000)] = 16
    max_batch: Annotated[Count, Meta(description="Requests in one run of the model.", le=64)] = 8
    max_batch_pixels: Annotated[
        Count,
        Meta(description="Pixels (x frames) in one run; a larger request runs alone. Beyond it a GPU gains nothing."),
    ] = 8 * 512 * 512
    batch_window_ms: Annotated[
        float, Meta(description="How long an idle server waits for company, in milliseconds.", ge=0, le=1000)
    ] = 5.0
    timeout_seconds: Annotated[
        float, Meta(description="For a request, waiting included. SageMaker waits 60 s.", gt=0, le=3600)
    ] = 55.0
    drain_seconds: Annotated[
        int, Meta(description="How long requests may finish after SIGTERM. SageMaker kills after 30 s.", ge=1, le=3600)
    ] = 25
    body_bytes: Annotated[Count, Meta(description="The largest request body, in bytes.", le=1 << 30)] = 6_000_000
    response_bytes: Annotated[
        Count, Meta(description="The largest answer, in bytes; a larger one needs an output_uri.", le=1 << 30)
    ] = 6_000_000
    object_bytes: Annotated[Count, Meta(description="The largest input object, in bytes.", le=1 << 30)] = 50_000_000
    input_uris: Annotated[
        str, Meta(description="Buckets or prefixes inputs may come from, separated by commas; empty: none.")
    ] = ""
    output_uris: Annotated[
        str, Meta(description="Buckets or prefixes outputs may go to, separated by commas; empty: none.")
    ] = ""
    prompt_characters: Annotated[Count, Meta(description="The longest prompt, in characters.", le=20_000)] = 2_000
    max_steps: Annotated[Count, Meta(description="The most steps of one request.", le=900)] = 100
    max_side: Annotated[Count, Meta(description="The longest side of an output, in pixels.", le=8192)] = 2048
    default_side: Annotated[Count, Meta(description="Width and height where a request names none.", le=8192)] = 512
    max_frames: Annotated[Count, Meta(description="The most frames of a video.", le=1024)] = 121
    input_pixels: Annotated[Count, Meta(description="The most pixels of an input picture.", le=1 << 28)] = 16_777_216
    input_images: Annotated[Count, Meta(description="The most pictures of one classify request.", le=1024)] = 64
    buckets: Annotated[
        str,
        Meta(description="The only sizes served, such as 512x512,1024x1024; each is warmed up. Empty: every size."),
    ] = ""
    embedding_cache_bytes: Annotated[
        int, Meta(description="For embeddings of repeated prompts, in bytes.", ge=0, le=1 << 34)
    ] = 64 * 1024 * 1024
    safety_model: Annotated[str, Meta(description="An ONNX classifier that looks at every picture; empty: none.")] = ""
    safety_label: Annotated[str, Meta(description="The label of that classifier that blocks.")] = "unsafe"
    safety_threshold: Annotated[float, Meta(description="The probability from which it blocks.", gt=0, le=1)] = 0.5
    c2pa_certificate: Annotated[
        str, Meta(description="A PEM file, leaf first, to sign content credentials with; empty: none are attached.")
    ] = ""
    c2pa_key: Annotated[str, Meta(description="The PEM file of that certificate's private key (ES256).")] = ""
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="The least level logged.")] = (
        "INFO"
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Reads the environment. Raises ConfigurationError naming the variable that is unknown or wrong."""
        environ = os.environ if environ is None else environ
        variables = {PREFIX + field.upper(): field for field in cls.__struct_fields__}
        for name in environ:
            if name.startswith(PREFIX) and name not in variables:
                raise ConfigurationError(name, f"{name} is no setting.", mend="docs/inference.md lists the settings.")
        values = {
            field: environ[name] for field, names in PLATFORM.items() for name in reversed(names) if environ.get(name)
        }
        values |= {field: environ[name] for name, field in variables.items() if environ.get(name)}
        if "model" not in values and SAGEMAKER_MODEL.is_dir():
            values["model"] = str(SAGEMAKER_MODEL)
        return cls.parse(values)

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> "Settings":
        """From field names to values, text taken for numbers. Raises ConfigurationError."""
        try:
            settings = msgspec.convert(dict(values), cls, strict=False)
        except msgspec.ValidationError as error:
            sentence, _, path = str(error).partition(" - at `$.")
            name = PREFIX + path.rstrip("`").upper() if path else "the settings"
            raise ConfigurationError(name, f"{name}: {sentence}.") from None
        return settings._checked()

    def _checked(self) -> "Settings":
        if not self.models:
            raise ConfigurationError("INFERENCE_MODEL", "No model is named.", mend="Set INFERENCE_MODEL to a folder.")
        if bool(self.c2pa_certificate) != bool(self.c2pa_key):
            raise ConfigurationError("INFERENCE_C2PA_KEY", "Content credentials need a certificate and its key.")
        if self.compile and not self.buckets:
            raise ConfigurationError("INFERENCE_BUCKETS", "Compiling needs the sizes to compile for.")
        for setting in ("input_uris", "output_uris"):
            for prefix in split(getattr(self, setting)):
                if prefix.partition("://")[0] not in ("s3", "gs", "az"):
                    name = PREFIX + setting.upper()
                    raise ConfigurationError(name, f"{prefix} is no object storage.", mend="Use s3://, gs:// or az://.")
        _ = self.sizes
        return msgspec.structs.replace(self, max_batch=1) if self.deterministic else self

    @property
    def models(self) -> tuple[str, ...]:
        return split(self.model)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """The buckets as (width, height) in pixels."""
        pairs = [bucket.split("x") for bucket in split(self.buckets)]
        if not all(len(pair) == 2 and all(side.isascii() and side.isdigit() for side in pair) for pair in pairs):
            raise ConfigurationError("INFERENCE_BUCKETS", "A bucket is WIDTHxHEIGHT.", mend="Write 512x512,768x768.")
        return tuple((int(width), int(height)) for width, height in pairs)


def split(text: str) -> tuple[str, ...]:
    """The non-empty members of a comma-separated setting."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
