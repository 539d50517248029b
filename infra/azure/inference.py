"""The GPU endpoints of `[inference.NAME]` on Azure ML: a workspace with what it needs, and the images' registry."""

from collections.abc import Mapping

import pulumi
from pulumi_azure_native import (
    authorization,
    containerregistry,
    machinelearningservices,
    managedidentity,
    monitor,
    storage,
)
from pulumi_azure_native.machinelearningservices import (
    EnvironmentVersionPropertiesArgs,
    InferenceContainerPropertiesArgs,
    ManagedOnlineDeploymentArgs,
    OnlineEndpointPropertiesArgs,
    OnlineRequestSettingsArgs,
    ProbeSettingsArgs,
    RouteArgs,
)

from infra import inference
from infra.azure import names, roles
from infra.azure.data import Data
from infra.azure.grants import grant
from infra.azure.storage import account
from infra.azure.vault import key_vault
from infra.inference import Inference
from infra.spec import DeploymentSpec

# A managed endpoint ends a request after this long at most, and after five seconds where nobody says otherwise.
REQUEST_SECONDS = inference.PLATFORMS["azure_ml"].seconds
PROBE_SECONDS = 10
# Per cent of the GPU: above the one another instance starts, below the other one stops.
BUSY, IDLE = 70, 30
LATENCY_SHARE = 0.9


class Inferences(pulumi.ComponentResource):
    """`image` is what to push to, `endpoints` the id of each endpoint, whose callers need its Score action."""

    def __init__(
        self,
        spec: DeploymentSpec,
        endpoints: Mapping[str, Inference],
        tags: dict[str, str],
        data: Data,
        tenant: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("wordup:azure:Inference", "inference", opts=opts)
        self._spec = spec
        self._tags = tags
        self._group = data.group.name
        self._child = pulumi.ResourceOptions(parent=self)
        self._registry = containerregistry.Registry(
            "images",
            registry_name=names.registry(spec),
            resource_group_name=self._group,
            location=spec.azure.location,
            sku=containerregistry.SkuArgs(name=containerregistry.SkuName.BASIC),
            admin_user_enabled=False,
            anonymous_pull_enabled=False,
            tags=tags,
            opts=self._child,
        )
        self.image = pulumi.Output.concat(self._registry.login_server, "/inference")
        self.endpoints: dict[str, pulumi.Output[str]] = {}
        wanted = {name: endpoint for name, endpoint in endpoints.items() if endpoint.image}
        if wanted:
            self._workspace, self._files = self._workspace_of(data, tenant)
            for name, endpoint in wanted.items():
                self.endpoints[name] = self._endpoint(name, endpoint)
        self.register_outputs({})

    def _workspace_of(
        self, data: Data, tenant: pulumi.Input[str]
    ) -> tuple[machinelearningservices.Workspace, storage.StorageAccount]:
        """With a storage account and a vault of its own: it has no business beside the bot's."""
        files = account(
            "ml-account",
            names.ml_account(self._spec),
            self._group,
            self._spec.azure.location,
            self._tags,
            sku=storage.SkuName.STANDARD_LRS,
            opts=self._child,
        )
        vault = key_vault(
            "ml-vault",
            names.ml_vault(self._spec),
            self._group,
            self._spec.azure.location,
            tenant,
            self._tags,
            opts=self._child,
        )
        workspace = machinelearningservices.Workspace(
            "ml-workspace",
            workspace_name=names.ml_workspace(self._spec),
            resource_group_name=self._group,
            location=self._spec.azure.location,
            identity=machinelearningservices.ManagedServiceIdentityArgs(
                type=machinelearningservices.ManagedServiceIdentityType.SYSTEM_ASSIGNED
            ),
            storage_account=files.id,
            key_vault=vault.id,
            application_insights=data.insights.id,
            container_registry=self._registry.id,
            system_datastores_auth_mode=machinelearningservices.SystemDatastoresAuthMode.IDENTITY,
            public_network_access=self._public,
            tags=self._tags,
            opts=self._child,
        )
        identity = workspace.identity.apply(lambda identity: identity.principal_id if identity else "")
        self._grant("ml-files", roles.STORAGE_BLOB_DATA_CONTRIBUTOR, to=identity, scope=files.id)
        self._grant("ml-secrets", roles.KEY_VAULT_SECRETS_OFFICER, to=identity, scope=vault.id)
        return workspace, files

    def _endpoint(self, name: str, endpoint: Inference) -> pulumi.Output[str]:
        location = self._spec.azure.location
        identity = managedidentity.UserAssignedIdentity(
            f"{name}-identity",
            resource_name_=names.inference(self._spec, name),
            resource_group_name=self._group,
            location=location,
            tags=self._tags,
            opts=self._child,
        )
        # Before the first instance pulls its image, and so not the endpoint's own identity, which is made with it.
        grants = [
            self._grant(f"{name}-images", roles.ACR_PULL, to=identity.principal_id, scope=self._registry.id),
            self._grant(
                f"{name}-files", roles.STORAGE_BLOB_DATA_READER, to=identity.principal_id, scope=self._files.id
            ),
        ]
        environment = machinelearningservices.EnvironmentVersion(
            f"{name}-environment",
            name=names.inference(self._spec, name),
            version=endpoint.image.rpartition(":")[2][:12],
            resource_group_name=self._group,
            workspace_name=self._workspace.name,
            properties=EnvironmentVersionPropertiesArgs(
                image=pulumi.Output.concat(self.image, "@", endpoint.image),
                os_type=machinelearningservices.OperatingSystemType.LINUX,
                inference_config=InferenceContainerPropertiesArgs(
                    liveness_route=RouteArgs(path=inference.LIVENESS_ROUTE, port=inference.PORT),
                    readiness_route=RouteArgs(path=inference.READINESS_ROUTE, port=inference.PORT),
                    scoring_route=RouteArgs(path=inference.SCORING_ROUTE, port=inference.PORT),
                ),
            ),
            opts=self._child,
        )
        deployed = machinelearningservices.OnlineEndpoint(
            f"{name}-endpoint",
            endpoint_name=names.inference(self._spec, name),
            resource_group_name=self._group,
            workspace_name=self._workspace.name,
            location=location,
            identity=machinelearningservices.ManagedServiceIdentityArgs(
                type=machinelearningservices.ManagedServiceIdentityType.USER_ASSIGNED,
                user_assigned_identities=[identity.id],
            ),
            properties=OnlineEndpointPropertiesArgs(
                auth_mode=machinelearningservices.EndpointAuthMode.AAD_TOKEN, public_network_access=self._public
            ),
            tags=self._tags,
            # Its share of the traffic is given after its deployment is there, by `wordup deploy`.
            opts=pulumi.ResourceOptions(parent=self, depends_on=grants, ignore_changes=["properties.traffic"]),
        )
        deployment = machinelearningservices.OnlineDeployment(
            f"{name}-deployment",
            deployment_name=names.DEPLOYMENT,
            endpoint_name=deployed.name,
            resource_group_name=self._group,
            workspace_name=self._workspace.name,
            location=location,
            sku=machinelearningservices.SkuArgs(name="Default", capacity=endpoint.min_instances),
            properties=ManagedOnlineDeploymentArgs(
                endpoint_compute_type="Managed",
                environment_id=environment.id,
                environment_variables=inference.variables(endpoint),
                instance_type=endpoint.machine_type,
                app_insights_enabled=True,
                request_settings=OnlineRequestSettingsArgs(
                    request_timeout=f"PT{REQUEST_SECONDS}S",
                    max_concurrent_requests_per_instance=endpoint.concurrency,
                ),
                liveness_probe=_probe(failures=6),
                readiness_probe=_probe(failures=inference.START_SECONDS // PROBE_SECONDS),
            ),
            tags=self._tags,
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["sku.capacity"]),  # it is the scaling's
        )
        self._scaling(name, endpoint, deployment)
        self._alarm(name, endpoint, deployed)
        return deployed.id

    def _scaling(self, name: str, endpoint: Inference, deployment: machinelearningservices.OnlineDeployment) -> None:
        def rule(operator: str, threshold: int, direction: str) -> monitor.ScaleRuleArgs:
            return monitor.ScaleRuleArgs(
                metric_trigger=monitor.MetricTriggerArgs(
                    metric_name="GpuUtilizationPercentage",
                    metric_resource_uri=deployment.id,
                    operator=monitor.ComparisonOperationType(operator),
                    threshold=threshold,
                    statistic=monitor.MetricStatisticType.AVERAGE,
                    time_aggregation=monitor.TimeAggregationType.AVERAGE,
                    time_grain="PT1M",
                    time_window="PT5M",
                ),
                scale_action=monitor.ScaleActionArgs(
                    direction=monitor.ScaleDirection(direction),
                    type=monitor.ScaleType.CHANGE_COUNT,
                    value="1",
                    cooldown="PT5M",
                ),
            )

        monitor.AutoscaleSetting(
            f"{name}-scaling",
            autoscale_setting_name=names.inference(self._spec, name),
            resource_group_name=self._group,
            location=self._spec.azure.location,
            enabled=True,
            target_resource_uri=deployment.id,
            profiles=[
                monitor.AutoscaleProfileArgs(
                    name="by the GPU",
                    capacity=monitor.ScaleCapacityArgs(
                        minimum=str(endpoint.min_instances),
                        maximum=str(endpoint.max_instances),
                        default=str(endpoint.min_instances),
                    ),
                    rules=[rule("GreaterThan", BUSY, "Increase"), rule("LessThan", IDLE, "Decrease")],
                )
            ],
            tags=self._tags,
            opts=self._child,
        )

    def _alarm(self, name: str, endpoint: Inference, deployed: machinelearningservices.OnlineEndpoint) -> None:
        monitor.MetricAlert(
            f"{name}-latency",
            rule_name=f"{names.inference(self._spec, name)}-latency",
            resource_group_name=self._group,
            location="global",
            description="Near its time-out: raise max_instances, or lower steps and sizes.",
            severity=2,
            enabled=True,
            scopes=[deployed.id],
            evaluation_frequency="PT5M",
            window_size="PT15M",
            criteria=monitor.MetricAlertSingleResourceMultipleMetricCriteriaArgs(
                odata_type="Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",
                all_of=[
                    monitor.MetricCriteriaArgs(
                        criterion_type="StaticThresholdCriterion",
                        name="slow",
                        metric_name="RequestLatency",
                        operator="GreaterThan",
                        threshold=endpoint.timeout_seconds * LATENCY_SHARE * 1_000,  # milliseconds
                        time_aggregation="Average",
                    )
                ],
            ),
            tags=self._tags,
            opts=self._child,
        )

    @property
    def _public(self) -> str:
        return "Enabled" if self._spec.azure.public else "Disabled"

    def _grant(
        self, name: str, role: str, *, to: pulumi.Input[str], scope: pulumi.Input[str]
    ) -> authorization.RoleAssignment:
        return grant(
            name,
            self._spec.azure.subscription,
            role,
            to=to,
            scope=scope,
            kind=authorization.PrincipalType.SERVICE_PRINCIPAL,
            opts=self._child,
        )


def _probe(*, failures: int) -> ProbeSettingsArgs:
    every = f"PT{PROBE_SECONDS}S"
    return ProbeSettingsArgs(initial_delay=every, period=every, timeout=every, failure_threshold=failures)
