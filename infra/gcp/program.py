"""Word Up! on Google Cloud: a second-generation function, a Firestore database of its own, a secret, its logs."""

from pathlib import Path

import pulumi
import pulumi_gcp as gcp

from infra import inference
from infra.gcp.api import API
from infra.gcp.data import Data
from infra.gcp.inference import Inferences
from infra.gcp.services import Services
from infra.spec import DeploymentSpec
from wordup.errors import ConfigurationError


def declare(spec: DeploymentSpec, package: Path | None, *, deletable: bool = False) -> None:
    """Registers everything. `package` is the source archive; `deletable` takes a production deployment's protection
    off its data. Raises ConfigurationError."""
    if not spec.gcp.project:
        raise ConfigurationError(
            "gcp.project", "Google Cloud needs a project.", mend="Set project under [gcp] in wordup.toml."
        )
    if package is None:
        raise ConfigurationError("package", "Google Cloud builds the function from an archive, and none was given.")
    # Security rules are Firebase's, whose API wants to know which project a person's call counts on; that, in turn,
    # wants an API of its own, so the provider that switches the APIs on goes without.
    bare = gcp.Provider("bare", project=spec.gcp.project, region=spec.gcp.region)
    endpoints = inference.on(spec.inference, "gcp")
    services = Services(inference=bool(endpoints), opts=pulumi.ResourceOptions(providers=[bare]))
    provider = gcp.Provider(
        "google-cloud",
        project=spec.gcp.project,
        region=spec.gcp.region,
        billing_project=spec.gcp.project,
        user_project_override=True,
        default_labels={**spec.tags, "deployment": spec.name},
        opts=pulumi.ResourceOptions(depends_on=[services]),
    )
    opts = pulumi.ResourceOptions(providers=[provider])
    data = Data(spec, keep=spec.profile == "production" and not deletable, opts=opts)
    api = API(spec, package, data, opts=opts)
    if endpoints:
        media = Inferences(spec, endpoints, opts=opts)
        pulumi.export("inference_image", media.image)
        for name, url in media.addresses.items():
            pulumi.export(f"{inference.OUTPUT}{name}", url)
    pulumi.export("url", api.url)
    pulumi.export("project", spec.gcp.project)
    pulumi.export("region", spec.gcp.region)
    pulumi.export("database", data.database.name)
    pulumi.export("secret", data.secret.secret_id)
    pulumi.export("function", api.function.name)
