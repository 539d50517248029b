"""Storage accounts, closed as far as they go: no keys, no public blobs, TLS 1.2 or later."""

import pulumi
from pulumi_azure_native import storage


def account(
    name: str,
    account_name: str,
    group: pulumi.Input[str],
    location: str,
    tags: dict[str, str],
    *,
    sku: storage.SkuName,
    opts: pulumi.ResourceOptions,
) -> storage.StorageAccount:
    encrypted = storage.EncryptionServiceArgs(enabled=True, key_type=storage.KeyType.ACCOUNT)
    return storage.StorageAccount(
        name,
        account_name=account_name,
        resource_group_name=group,
        location=location,
        kind=storage.Kind.STORAGE_V2,
        sku=storage.SkuArgs(name=sku),
        allow_blob_public_access=False,
        allow_cross_tenant_replication=False,
        allow_shared_key_access=False,
        default_to_o_auth_authentication=True,
        enable_https_traffic_only=True,
        minimum_tls_version=storage.MinimumTlsVersion.TLS1_2,
        encryption=storage.EncryptionArgs(
            key_source=storage.KeySource.MICROSOFT_STORAGE,
            services=storage.EncryptionServicesArgs(blob=encrypted, table=encrypted),
        ),
        tags=tags,
        opts=opts,
    )
