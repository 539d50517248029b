"""The GPU endpoints of `[inference.NAME]`: services of Cloud Run, endpoints of Vertex AI, and the images' registry."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_gcp as gcp
from pulumi_gcp.cloudrunv2 import (
    ServiceTemplateArgs,
    ServiceTemplateContainerArgs,
    ServiceTemplateContainerEnvArgs,
    ServiceTemplateContainerLivenessProbeArgs,
    ServiceTemplateContainerLivenessProbeHttpGetArgs,
    ServiceTemplateContainerPortsArgs,
    ServiceTemplateContainerResourcesArgs,
    ServiceTemplateContainerStartupProbeArgs,
    ServiceTemplateContainerStartupProbeHttpGetArgs,
    ServiceTemplateNodeSelectorArgs,
    ServiceTemplateScalingArgs,
)

from infra import inference
from infra.gcp import names
from infra.inference import Inference
from infra.spec import DeploymentSpec
from wordup.errors import ConfigurationError

PROBE_SECONDS = 10
# What one GPU of Cloud Run wants beside it: https://cloud.google.com/run/docs/configuring/services/gpu
PROCESSORS, MEMORY = "8", "32Gi"
# One GPU of the machine type's own kind: https://cloud.google.com/vertex-ai/docs/predictions/configure-compute
ACCELERATORS = {"g2": "NVIDIA_L4", "a2": "NVIDIA_TESLA_A100", "a3": "NVIDIA_H100_80GB", "g4": "NVIDIA_RTX_PRO_6000"}
# Out of a hundred: above it another replica starts.
DUTY_CYCLE = 60


class Inferences(pulumi.ComponentResource):
    """`addresses` are the URLs of Cloud Run's services and the resource names of Vertex AI's endpoints, by name. Who
    calls them needs a role: roles/run.invoker, roles/aiplatform.user."""

    def __init__(self, spec: DeploymentSpec, endpoints: Mapping[str, Inference], opts: pulumi.ResourceOptions) -> None:
        super().__init__("wordup:gcp:Inference", "inference", opts=opts)
        self._spec = spec
        self._child = pulumi.ResourceOptions(parent=self)
        self.registry = gcp.artifactregistry.Repository(
            "inference-images",
            repository_id=names.inference_images(spec),
            location=spec.gcp.region,
            format="DOCKER",
            # A digest is what is deployed, and a tag that moves would say nothing about it.
            docker_config=gcp.artifactregistry.RepositoryDockerConfigArgs(immutable_tags=True),
            opts=self._child,
        )
        self.image = pulumi.Output.concat(
            f"{spec.gcp.region}-docker.pkg.dev/{spec.gcp.project}/", self.registry.repository_id, "/inference"
        )
        self.addresses: dict[str, pulumi.Output[str]] = {}
        for name, endpoint in endpoints.items():
            if endpoint.on == "cloud_run" and endpoint.image:
                self.addresses[name] = self._service(name, endpoint)
            elif endpoint.on == "vertex" and endpoint.image:
                self.addresses[name] = self._vertex(name, endpoint)
        self.register_outputs({})

    def _service(self, name: str, endpoint: Inference) -> pulumi.Output[str]:
        account = gcp.serviceaccount.Account(
            f"{name}-runner",
            account_id=names.inference_account(self._spec, name),
            display_name=f"Runs {name} of {self._spec.name}",
            opts=self._child,
        )
        grants = self._buckets(name, endpoint, account)
        service = gcp.cloudrunv2.Service(
            f"{name}-service",
            name=names.inference(self._spec, name),
            location=self._spec.gcp.region,
            ingress="INGRESS_TRAFFIC_ALL",  # and no invoker but whom the operator names
            deletion_protection=False,
            template=ServiceTemplateArgs(
                service_account=account.email,
                timeout=f"{endpoint.timeout_seconds + inference.ANSWER_SECONDS}s",
                max_instance_request_concurrency=endpoint.concurrency,
                gpu_zonal_redundancy_disabled=True,
                node_selector=ServiceTemplateNodeSelectorArgs(accelerator=endpoint.machine_type),
                scaling=ServiceTemplateScalingArgs(
                    min_instance_count=endpoint.min_instances, max_instance_count=endpoint.max_instances
                ),
                containers=[
                    ServiceTemplateContainerArgs(
                        image=pulumi.Output.concat(self.image, "@", endpoint.image),
                        ports=ServiceTemplateContainerPortsArgs(container_port=inference.PORT),
                        resources=ServiceTemplateContainerResourcesArgs(
                            limits={"cpu": PROCESSORS, "memory": MEMORY, "nvidia.com/gpu": "1"},
                            cpu_idle=False,
                            startup_cpu_boost=True,
                        ),
                        envs=[
                            ServiceTemplateContainerEnvArgs(name=variable, value=value)
                            for variable, value in inference.variables(endpoint).items()
                        ],
                        startup_probe=ServiceTemplateContainerStartupProbeArgs(
                            http_get=ServiceTemplateContainerStartupProbeHttpGetArgs(
                                path=inference.READINESS_ROUTE, port=inference.PORT
                            ),
                            period_seconds=PROBE_SECONDS,
                            timeout_seconds=PROBE_SECONDS,
                            failure_threshold=inference.START_SECONDS // PROBE_SECONDS,
                        ),
                        liveness_probe=ServiceTemplateContainerLivenessProbeArgs(
                            http_get=ServiceTemplateContainerLivenessProbeHttpGetArgs(
                                path=inference.LIVENESS_ROUTE, port=inference.PORT
                            ),
                            period_seconds=PROBE_SECONDS,
                            timeout_seconds=PROBE_SECONDS,
                            failure_threshold=6,
                        ),
                    )
                ],
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=grants),
        )
        self._alarm(
            name,
            f"{names.inference(self._spec, name)} answers with errors.",
            'resource.type="cloud_run_revision" metric.type="run.googleapis.com/request_count"'
            f' resource.labels.service_name="{names.inference(self._spec, name)}"'
            ' metric.labels.response_code_class="5xx"',
        )
        return service.uri

    def _vertex(self, name: str, endpoint: Inference) -> pulumi.Output[str]:
        """The only resource of Pulumi's that deploys to Vertex AI is Model Garden's; its container may be one's own."""
        family = endpoint.machine_type.partition("-")[0]
        if family not in ACCELERATORS:
            raise ConfigurationError(
                f"inference.{name}.machine",
                f"Which GPU {endpoint.machine_type} has is not known here.",
                mend=f"Take a machine of {', '.join(ACCELERATORS)}.",
            )
        # The classes of these inputs have names of up to ninety letters; as dictionaries they are checked the same.
        deployed = gcp.vertex.AiEndpointWithModelGardenDeployment(
            f"{name}-endpoint",
            location=self._spec.gcp.region,
            hugging_face_model_id=endpoint.hub_model,
            endpoint_config={
                "endpoint_display_name": names.inference(self._spec, name),
                "dedicated_endpoint_enabled": True,
            },
            model_config={
                "model_display_name": names.inference(self._spec, name),
                "container_spec": {
                    "image_uri": pulumi.Output.concat(self.image, "@", endpoint.image),
                    "predict_route": inference.PREDICT_ROUTE,
                    "health_route": inference.HEALTH_ROUTE,
                    "ports": [{"container_port": inference.PORT}],
                    "envs": [
                        {"name": variable, "value": value} for variable, value in inference.variables(endpoint).items()
                    ],
                    "deployment_timeout": f"{inference.START_SECONDS}s",
                    "startup_probe": {
                        "http_get": {"path": inference.READINESS_ROUTE, "port": inference.PORT},
                        "period_seconds": PROBE_SECONDS,
                        "timeout_seconds": PROBE_SECONDS,
                        "failure_threshold": inference.START_SECONDS // PROBE_SECONDS,
                    },
                },
            },
            deploy_config={
                "dedicated_resources": {
                    "machine_spec": {
                        "machine_type": endpoint.machine_type,
                        "accelerator_type": ACCELERATORS[family],
                        "accelerator_count": 1,
                    },
                    "min_replica_count": endpoint.min_instances,
                    "max_replica_count": endpoint.max_instances,
                    "autoscaling_metric_specs": [
                        {
                            "metric_name": "aiplatform.googleapis.com/prediction/online/accelerator/duty_cycle",
                            "target": DUTY_CYCLE,
                        }
                    ],
                }
            },
            opts=self._child,
        )
        self._alarm(
            name,
            f"Vertex AI counts errors of an endpoint of {self._spec.name}.",
            'resource.type="aiplatform.googleapis.com/Endpoint"'
            ' metric.type="aiplatform.googleapis.com/prediction/online/error_count"',
        )
        return pulumi.Output.concat(
            f"projects/{self._spec.gcp.project}/locations/{self._spec.gcp.region}/endpoints/", deployed.endpoint
        )

    def _buckets(self, name: str, endpoint: Inference, account: gcp.serviceaccount.Account) -> list[pulumi.Resource]:
        """Reading the model and the inputs, adding outputs: each on its own prefix and nothing else of the bucket."""
        reads = [*endpoint.inputs, *([endpoint.model] if endpoint.model.startswith("gs:") else [])]
        wanted = [("roles/storage.objectViewer", uri) for uri in reads]
        wanted += [("roles/storage.objectCreator", uri) for uri in endpoint.outputs]
        grants: list[pulumi.Resource] = []
        for number, (role, uri) in enumerate(wanted):
            bucket, prefix = inference.bucket(uri)
            condition: Any = None
            if prefix:
                condition = gcp.storage.BucketIAMMemberConditionArgs(
                    title="Its own prefix",
                    expression=f'resource.name.startsWith("projects/_/buckets/{bucket}/objects/{prefix}/")',
                )
            grants.append(
                gcp.storage.BucketIAMMember(
                    f"{name}-objects-{number}",
                    bucket=bucket,
                    role=role,
                    member=account.member,
                    condition=condition,
                    opts=self._child,
                )
            )
        return grants

    def _alarm(self, name: str, sentence: str, query: str) -> None:
        gcp.monitoring.AlertPolicy(
            f"{name}-errors",
            display_name=f"{names.inference(self._spec, name)}: errors",
            combiner="OR",
            documentation=gcp.monitoring.AlertPolicyDocumentationArgs(content=sentence, mime_type="text/markdown"),
            conditions=[
                gcp.monitoring.AlertPolicyConditionArgs(
                    display_name="more than five in five minutes",
                    condition_threshold=gcp.monitoring.AlertPolicyConditionConditionThresholdArgs(
                        filter=query,
                        comparison="COMPARISON_GT",
                        threshold_value=5,
                        duration="0s",
                        aggregations=[
                            gcp.monitoring.AlertPolicyConditionConditionThresholdAggregationArgs(
                                alignment_period="300s", per_series_aligner="ALIGN_DELTA"
                            )
                        ],
                    ),
                )
            ],
            opts=self._child,
        )
