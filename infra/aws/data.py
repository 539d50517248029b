"""What outlives the code: the table, the secret, the logs."""

from aws_cdk import CfnResource, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.aws import names
from infra.spec import DeploymentSpec


class DataStack(Stack):
    """In `production` the stack refuses to be deleted, and every resource in it to be deleted with it."""

    def __init__(self, scope: Construct, spec: DeploymentSpec, *, region: str) -> None:
        self._production = spec.profile == "production"
        super().__init__(
            scope,
            names.data_stack(spec),
            description=f"Word Up! Bot {spec.name}: conversations, secret, logs",
            env={"region": region},
            termination_protection=self._production,
        )
        dynamodb.Table(
            self,
            "Table",
            table_name=names.table(spec),
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute="e",
            # DynamoDB always encrypts; AWS's own key costs nothing, the account's managed key shows in CloudTrail.
            encryption=dynamodb.TableEncryption.AWS_MANAGED if self._production else dynamodb.TableEncryption.DEFAULT,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=self._production
            ),
            deletion_protection=self._production,
            removal_policy=self._removal,
        )
        # Without a value: that is put by API after the deploy, so that no key ever stands in a template.
        self._keep(
            secretsmanager.CfnSecret(
                self, "Secret", name=names.secret(spec), description="Signing keys and the provider's key"
            )
        )
        for name, log_group in (("FunctionLog", names.function_log(spec)), ("AccessLog", names.access_log(spec))):
            self._keep(
                logs.CfnLogGroup(self, name, log_group_name=log_group, retention_in_days=spec.aws.log_retention_days)
            )

    @property
    def _removal(self) -> RemovalPolicy:
        return RemovalPolicy.RETAIN if self._production else RemovalPolicy.DESTROY

    def _keep(self, resource: CfnResource) -> None:
        resource.apply_removal_policy(self._removal)
