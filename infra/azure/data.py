"""What outlives the code: the table, the key vault, the logs. In production they are protected and stay."""

import pulumi
from pulumi_azure_native import applicationinsights, authorization, operationalinsights, resources, storage

from infra.azure import names, roles
from infra.azure.grants import grant
from infra.azure.storage import account
from infra.azure.vault import key_vault
from infra.spec import DeploymentSpec


class Data(pulumi.ComponentResource):
    """`rows_url` is where the table is reached, `vault` holds the signing keys and the provider's key, whose values
    never come by here, `insights` takes the function's logs."""

    def __init__(
        self,
        spec: DeploymentSpec,
        tags: dict[str, str],
        *,
        keep: bool,
        operator_type: authorization.PrincipalType,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("wordup:azure:Data", "data", opts=opts)
        self._spec = spec
        self._tags = tags
        self._child = pulumi.ResourceOptions(parent=self, protect=keep)
        self.group = resources.ResourceGroup(
            "group",
            resource_group_name=names.group(spec),
            location=spec.azure.location,
            tags=tags,
            opts=self._child,
        )
        client = authorization.get_client_config_output(opts=pulumi.InvokeOutputOptions(parent=self))
        self._rows(keep)
        self.tenant = client.tenant_id
        self.vault = key_vault(
            "vault",
            names.vault(spec),
            self.group.name,
            spec.azure.location,
            self.tenant,
            tags,
            keep=keep,
            opts=self._child,
        )
        self._logs()
        self._operator(client.object_id, operator_type)
        self.register_outputs({})

    def _rows(self, keep: bool) -> None:
        rows = account(
            "rows-account",
            names.rows_account(self._spec),
            self.group.name,
            self._spec.azure.location,
            self._tags,
            # Table Storage keeps no past versions; three copies in three buildings are what it has.
            sku=storage.SkuName.STANDARD_ZRS if keep else storage.SkuName.STANDARD_LRS,
            opts=self._child,
        )
        self.table = storage.Table(
            "table",
            resource_group_name=self.group.name,
            account_name=rows.name,
            table_name=names.table(self._spec),
            opts=self._child,
        )
        self.rows_url = rows.primary_endpoints.apply(lambda endpoints: endpoints.table)
        self.table_scope = pulumi.Output.concat(rows.id, "/tableServices/default/tables/", self.table.name)
        if keep:
            authorization.ManagementLockByScope(
                "rows-lock",
                scope=rows.id,
                lock_name="keep-rows",
                level=authorization.LockLevel.CAN_NOT_DELETE,
                notes="Conversations. `wordup destroy --delete-data` takes the lock off.",
                opts=self._child,
            )

    def _logs(self) -> None:
        workspace = operationalinsights.Workspace(
            "logs",
            resource_group_name=self.group.name,
            workspace_name=self._spec.name,
            location=self._spec.azure.location,
            sku=operationalinsights.WorkspaceSkuArgs(name=operationalinsights.WorkspaceSkuNameEnum.PER_GB2018),
            retention_in_days=self._spec.azure.log_retention_days,
            features=operationalinsights.WorkspaceFeaturesArgs(disable_local_auth=True),
            tags=self._tags,
            opts=self._child,
        )
        self.insights = applicationinsights.Component(
            "insights",
            resource_group_name=self.group.name,
            resource_name_=self._spec.name,
            location=self._spec.azure.location,
            kind="web",
            application_type=applicationinsights.ApplicationType.WEB,
            ingestion_mode=applicationinsights.IngestionMode.LOG_ANALYTICS,
            workspace_resource_id=workspace.id,
            # Its connection string is then an address and no key: the function writes as itself.
            disable_local_auth=True,
            tags=self._tags,
            opts=self._child,
        )

    def _operator(self, operator: pulumi.Input[str], kind: authorization.PrincipalType) -> None:
        """Whoever deploys puts the keys into the vault and the first access key into the table, each as themselves."""
        subscription = self._spec.azure.subscription
        grant(
            "operator-rows",
            subscription,
            roles.STORAGE_TABLE_DATA_CONTRIBUTOR,
            to=operator,
            kind=kind,
            scope=self.table_scope,
            opts=self._child,
        )
        grant(
            "operator-secret",
            subscription,
            roles.KEY_VAULT_SECRETS_OFFICER,
            to=operator,
            kind=kind,
            scope=self.vault.id,
            opts=self._child,
        )
