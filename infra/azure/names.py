"""The name of everything, from the deployment's own and the subscription's.

Accounts, vaults and function apps share one namespace with everybody else's, so these end with six characters of a
hash. They are the same at every deployment, so that no plan shows a change where there is none.
"""

import base64
import hashlib

from infra.spec import DeploymentSpec

# Of an Azure ML endpoint.
DEPLOYMENT = "live"


def group(spec: DeploymentSpec) -> str:
    return spec.name


def rows_account(spec: DeploymentSpec) -> str:
    return _account(spec, "rows")


def host_account(spec: DeploymentSpec) -> str:
    return _account(spec, "host")


def table(spec: DeploymentSpec) -> str:
    """Letters and digits only; `infra.spec.environment` uses the same."""
    return spec.name.replace("-", "")


def vault(spec: DeploymentSpec) -> str:
    """At most 24 characters, no two hyphens in a row."""
    return f"{spec.name[:17].rstrip('-')}-{_suffix(spec)}"


def secret(spec: DeploymentSpec) -> str:
    return spec.name


def function_app(spec: DeploymentSpec) -> str:
    return f"{spec.name}-{_suffix(spec)}"


def registry(spec: DeploymentSpec) -> str:
    """Letters and digits only."""
    return f"{spec.name.replace('-', '')}images{_suffix(spec)}"


def ml_account(spec: DeploymentSpec) -> str:
    return _account(spec, "ml")


def ml_vault(spec: DeploymentSpec) -> str:
    return f"{spec.name[:14].rstrip('-')}-ml-{_suffix(spec)}"


def ml_workspace(spec: DeploymentSpec) -> str:
    return f"{spec.name}-ml"


def inference(spec: DeploymentSpec, endpoint: str) -> str:
    """At most 32 characters, and of a region's own."""
    return f"{spec.name[:13].rstrip('-')}-{endpoint}-{_suffix(spec)}"


def _account(spec: DeploymentSpec, purpose: str) -> str:
    """At most 24 lower-case letters and digits."""
    return f"{spec.name.replace('-', '')[:14]}{purpose}{_suffix(spec)}"


def _suffix(spec: DeploymentSpec) -> str:
    digest = hashlib.sha256(f"{spec.azure.subscription}/{spec.name}".encode()).digest()
    return base64.b32encode(digest).decode().lower()[:6]
