"""What an account needs once a region: API Gateway's right to write access logs."""

from typing import cast

from aws_cdk import Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.aws import names


class AccountStack(Stack):
    """The setting is one per region and account. In a stack of its own no deployment takes it from another."""

    def __init__(self, scope: Construct, *, region: str) -> None:
        super().__init__(
            scope,
            names.ACCOUNT_STACK,
            description="Word Up! Bot: API Gateway's right to write access logs, for every deployment of this region",
            env={"region": region},
        )
        role = iam.Role(
            self,
            "ApiGatewayLogs",
            assumed_by=cast(iam.IPrincipal, iam.ServicePrincipal("apigateway.amazonaws.com")),
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AmazonAPIGatewayPushToCloudWatchLogs")
            ],
        )
        apigateway.CfnAccount(self, "Account", cloud_watch_role_arn=role.role_arn)
