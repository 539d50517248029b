"""The name of everything, from the deployment's own; `infra.spec.environment` uses the same."""

from infra.spec import DeploymentSpec

# The collection of all rows in the Firestore adapter, the field that tells when a row's time is over, and the fields
# that it never queries by; it does by `key`.
ROWS = "rows"
EXPIRY = "expires_at"
UNINDEXED = ("c", "d", "schema_version", "v")


def database(spec: DeploymentSpec) -> str:
    return spec.name


def secret(spec: DeploymentSpec) -> str:
    return spec.name


def function(spec: DeploymentSpec) -> str:
    return spec.name


def logs(spec: DeploymentSpec) -> str:
    return spec.name


def source_bucket(spec: DeploymentSpec) -> str:
    """Buckets share one namespace with everybody else's, and projects' ids are unique in it."""
    return f"{spec.gcp.project}-{spec.name}-source"


def inference_images(spec: DeploymentSpec) -> str:
    return f"{spec.name}-inference"


def inference(spec: DeploymentSpec, endpoint: str) -> str:
    return f"{spec.name}-{endpoint}"


def inference_account(spec: DeploymentSpec, endpoint: str) -> str:
    """At most 30 characters."""
    return f"{spec.name}-{endpoint}"[:30].rstrip("-")
