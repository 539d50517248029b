"""What answers: the function app, with an identity of its own that may do four things, and the storage of its host."""

import pulumi
from pulumi_azure_native import authorization, storage, web

from infra.azure import names, roles
from infra.azure.data import Data
from infra.azure.grants import grant
from infra.azure.storage import account
from infra.spec import DeploymentSpec, environment

PYTHON = "3.13"


class API(pulumi.ComponentResource):
    def __init__(self, spec: DeploymentSpec, tags: dict[str, str], data: Data, opts: pulumi.ResourceOptions) -> None:
        super().__init__("wordup:azure:API", "api", opts=opts)
        self._spec = spec
        self._tags = tags
        self._data = data
        self._child = pulumi.ResourceOptions(parent=self)
        # An account of its own: the host wants to own all blobs of one, and has no business beside the rows.
        host = account(
            "host-account",
            names.host_account(spec),
            data.group.name,
            spec.azure.location,
            tags,
            sku=storage.SkuName.STANDARD_LRS,
            opts=self._child,
        )
        packages = storage.BlobContainer(
            "packages",
            resource_group_name=data.group.name,
            account_name=host.name,
            container_name="packages",
            public_access=storage.PublicAccess.NONE,
            opts=self._child,
        )
        self.function_app = self._function_app(host, packages)
        self._grants(host)
        self.url = pulumi.Output.concat("https://", self.function_app.default_host_name)
        self.register_outputs({})

    def _function_app(self, host: storage.StorageAccount, packages: storage.BlobContainer) -> web.WebApp:
        spec, group = self._spec, self._data.group
        plan = web.AppServicePlan(
            "plan",
            resource_group_name=group.name,
            name=spec.name,
            location=spec.azure.location,
            kind="functionapp",
            reserved=True,  # Linux
            sku=web.SkuDescriptionArgs(name="FC1", tier="FlexConsumption"),
            tags=self._tags,
            opts=self._child,
        )
        settings = self._settings(host)
        function_app = web.WebApp(
            "function",
            resource_group_name=group.name,
            name=names.function_app(spec),
            location=spec.azure.location,
            kind="functionapp,linux",
            server_farm_id=plan.id,
            https_only=True,
            public_network_access="Enabled" if spec.azure.public else "Disabled",
            identity=web.ManagedServiceIdentityArgs(type=web.ManagedServiceIdentityType.SYSTEM_ASSIGNED),
            function_app_config=web.FunctionAppConfigArgs(
                runtime=web.FunctionsRuntimeArgs(name=web.RuntimeName.PYTHON, version=PYTHON),
                deployment=web.FunctionsDeploymentArgs(
                    storage=web.FunctionsDeploymentStorageArgs(
                        type=web.FunctionsDeploymentStorageType.BLOB_CONTAINER,
                        value=pulumi.Output.concat(
                            host.primary_endpoints.apply(lambda endpoints: endpoints.blob), packages.name
                        ),
                        authentication=web.FunctionsDeploymentStorageAuthenticationArgs(
                            type=web.AuthenticationType.SYSTEM_ASSIGNED_IDENTITY
                        ),
                    )
                ),
                scale_and_concurrency=web.FunctionsScaleAndConcurrencyArgs(
                    always_ready=[],
                    maximum_instance_count=spec.azure.max_instances,
                    instance_memory_mb=spec.azure.memory_mb,
                    triggers=web.FunctionsScaleAndConcurrencyTriggersArgs(
                        http=web.FunctionsScaleAndConcurrencyTriggersHttpArgs(
                            per_instance_concurrency=spec.azure.concurrency
                        )
                    ),
                ),
            ),
            # Not SiteConfigArgs: it would add a .NET version, which Flex Consumption does not take.
            site_config={
                "min_tls_version": web.SupportedTlsVersions.SUPPORTED_TLS_VERSIONS_1_2,
                "scm_min_tls_version": web.SupportedTlsVersions.SUPPORTED_TLS_VERSIONS_1_2,
                "ftps_state": web.FtpsState.DISABLED,
                "http20_enabled": True,
                "app_settings": [{"name": name, "value": value} for name, value in settings.items()],
            },
            tags=self._tags,
            opts=self._child,
        )
        # Packages come by the operator's identity, never by a password.
        web.WebAppScmAllowed(
            "no-publishing-password",
            resource_group_name=group.name,
            name=function_app.name,
            allow=False,
            opts=self._child,
        )
        web.WebAppFtpAllowed(
            "no-ftp-password", resource_group_name=group.name, name=function_app.name, allow=False, opts=self._child
        )
        return function_app

    def _settings(self, host: storage.StorageAccount) -> dict[str, pulumi.Input[str]]:
        secret = self._data.vault.properties.apply(
            lambda vault: f"azure:{vault.vault_uri}secrets/{names.secret(self._spec)}"
        )
        return {
            **environment(self._spec, "azure"),
            "WORDUP_STORE_ENDPOINT": self._data.rows_url,
            "WORDUP_SIGNING_KEY_REF": pulumi.Output.concat(secret, "#signing"),
            "WORDUP_PROVIDER_KEY_REF": pulumi.Output.concat(secret, "#provider_key"),
            "AzureWebJobsDisableHomepage": "true",  # Azure's own page would stand where the bot's does
            # The host's storage without a connection string: a timer's lock and schedule live there.
            "AzureWebJobsStorage__accountName": host.name,
            "APPLICATIONINSIGHTS_CONNECTION_STRING": self._data.insights.connection_string,
            "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "Authorization=AAD",
        }

    def _grants(self, host: storage.StorageAccount) -> None:
        identity = self.function_app.identity.apply(lambda identity: identity.principal_id if identity else "")
        for name, role, scope in (
            ("function-rows", roles.STORAGE_TABLE_DATA_CONTRIBUTOR, self._data.table_scope),
            ("function-secret", roles.KEY_VAULT_SECRETS_USER, self._data.vault.id),
            ("function-host", roles.STORAGE_BLOB_DATA_OWNER, host.id),
            ("function-logs", roles.MONITORING_METRICS_PUBLISHER, self._data.insights.id),
        ):
            grant(
                name,
                self._spec.azure.subscription,
                role,
                to=identity,
                scope=scope,
                kind=authorization.PrincipalType.SERVICE_PRINCIPAL,
                opts=self._child,
            )
