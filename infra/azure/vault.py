"""Key vaults: their rights are roles, and what is deleted can be brought back."""

import pulumi
from pulumi_azure_native import keyvault


def key_vault(
    name: str,
    vault_name: str,
    group: pulumi.Input[str],
    location: str,
    tenant: pulumi.Input[str],
    tags: dict[str, str],
    *,
    keep: bool = False,
    opts: pulumi.ResourceOptions,
) -> keyvault.Vault:
    """`keep`: nobody can purge it before its time."""
    return keyvault.Vault(
        name,
        resource_group_name=group,
        vault_name=vault_name,
        location=location,
        properties=keyvault.VaultPropertiesArgs(
            tenant_id=tenant,
            sku=keyvault.SkuArgs(family=keyvault.SkuFamily.A, name=keyvault.SkuName.STANDARD),
            enable_rbac_authorization=True,
            enable_soft_delete=True,
            soft_delete_retention_in_days=90 if keep else 7,
            # Azure takes no false here, and what is true once stays so for the vault's life.
            enable_purge_protection=True if keep else None,
        ),
        tags=tags,
        opts=opts,
    )
