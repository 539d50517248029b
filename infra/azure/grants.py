"""Granting a role to somebody on something."""

import pulumi
from pulumi_azure_native import authorization


def grant(
    name: str,
    subscription: str,
    role: str,
    *,
    to: pulumi.Input[str],
    kind: authorization.PrincipalType,
    scope: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> authorization.RoleAssignment:
    """`kind` is told, since the directory does not find an identity just made for some minutes."""
    return authorization.RoleAssignment(
        name,
        scope=scope,
        principal_id=to,
        principal_type=kind,
        role_definition_id=f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}",
        opts=opts,
    )
