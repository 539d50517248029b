"""The APIs that the other components call. They stay on after a deployment is destroyed: others may use them."""

import pulumi
import pulumi_gcp as gcp

NAMES = (
    "artifactregistry",
    "cloudbuild",
    "cloudfunctions",
    "cloudresourcemanager",
    "firebaserules",
    "firestore",
    "iam",
    "logging",
    "run",
    "secretmanager",
    "storage",
)


# Those that only GPU endpoints call.
INFERENCE = ("aiplatform", "monitoring")


class Services(pulumi.ComponentResource):
    def __init__(self, *, inference: bool, opts: pulumi.ResourceOptions) -> None:
        super().__init__("wordup:gcp:Services", "services", opts=opts)
        for name in (*NAMES, *(INFERENCE if inference else ())):
            gcp.projects.Service(
                f"{name}-service",
                service=f"{name}.googleapis.com",
                disable_on_destroy=False,
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({})
