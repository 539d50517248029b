"""What watches a release, the bill and the model's end, in `production`: the operations that the embedded cloud cannot
take.

It is there before the API, whose new versions CodeDeploy brings in.
"""

from datetime import UTC, datetime, time
from typing import cast

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_codedeploy as codedeploy
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.aws import limits, names
from infra.aws.operations import ROLLBACK, Metrics
from infra.spec import DeploymentSpec

_DAY_SECONDS = 86_400


class GuardStack(Stack):
    def __init__(self, scope: Construct, spec: DeploymentSpec, *, region: str) -> None:
        super().__init__(
            scope,
            names.guard_stack(spec),
            description=f"Word Up! Bot {spec.name}: gradual deployment, budget, the model's end",
            env={"region": region},
        )
        self._spec = spec
        self._rollout()
        self._budget()
        self._model_shutdown()

    def _rollout(self) -> None:
        spec = self._spec
        application = codedeploy.CfnApplication(
            self, "Application", application_name=names.rollout(spec), compute_platform="Lambda"
        )
        role = iam.Role(
            self,
            "CodeDeploy",
            assumed_by=cast(iam.IPrincipal, iam.ServicePrincipal("codedeploy.amazonaws.com")),
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AWSCodeDeployRoleForLambdaLimited")
            ],
        )
        alarms = [names.alarm(spec, kind) for kind in ROLLBACK]
        group = codedeploy.CfnDeploymentGroup(
            self,
            "Group",
            application_name=names.rollout(spec),
            deployment_group_name=names.rollout(spec),
            service_role_arn=role.role_arn,
            deployment_config_name=f"CodeDeployDefault.Lambda{spec.aws.rollout}",
            deployment_style=codedeploy.CfnDeploymentGroup.DeploymentStyleProperty(
                deployment_type="BLUE_GREEN", deployment_option="WITH_TRAFFIC_CONTROL"
            ),
            alarm_configuration=codedeploy.CfnDeploymentGroup.AlarmConfigurationProperty(
                enabled=True, alarms=[codedeploy.CfnDeploymentGroup.AlarmProperty(name=name) for name in alarms]
            ),
            auto_rollback_configuration=codedeploy.CfnDeploymentGroup.AutoRollbackConfigurationProperty(
                enabled=True, events=["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"]
            ),
        )
        group.add_dependency(application)

    def _budget(self) -> None:
        spec = self._spec
        # The operator's address itself: a topic that anyone's budget may publish to would be one more thing to guard.
        subscribers = [
            budgets.CfnBudget.SubscriberProperty(subscription_type="EMAIL", address=address)
            for address in [spec.aws.alarm_email]
            if address
        ]
        notifications = [
            budgets.CfnBudget.NotificationWithSubscribersProperty(
                notification=budgets.CfnBudget.NotificationProperty(
                    notification_type=kind,
                    comparison_operator="GREATER_THAN",
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                ),
                subscribers=subscribers,
            )
            for kind, percent in (("ACTUAL", 80), ("FORECASTED", 100))
        ]
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=names.budget(spec),
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=spec.aws.monthly_budget_usd, unit="USD"),
                cost_filters={"TagKeyValue": [f"user:{names.DEPLOYMENT_TAG}${spec.name}"]},
            ),
            notifications_with_subscribers=notifications if subscribers else None,
        )

    def _model_shutdown(self) -> None:
        """An alarm on the calendar: what is left until the day that the catalogue names, counted in days. EPOCH gives
        every period's time in seconds, also of those in which nobody called:
        https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
        """
        spec = self._spec
        model = limits.model(spec)
        if model.shutdown is None:
            return
        end = int(datetime.combine(model.shutdown, time(), UTC).timestamp())
        days_left = cloudwatch.MathExpression(
            expression=f"({end} - EPOCH(calls)) / {_DAY_SECONDS}",
            using_metrics={"calls": cast(cloudwatch.IMetric, Metrics(spec).function("Invocations", "Sum"))},
            label="days left",
            period=Duration.hours(1),
        )
        alarm = cloudwatch.Alarm(
            self,
            "ModelShutdown",
            alarm_name=names.alarm(spec, "model-shutdown"),
            alarm_description=(
                f"The provider ends {model.id} on {model.shutdown}. What to do: docs/operations.md#model-shutdown"
            ),
            metric=cast(cloudwatch.IMetric, days_left),
            threshold=limits.WARNING_DAYS,
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            evaluation_periods=1,
            # There is no metric before the first call: the alarm neither ends nor rings.
            treat_missing_data=cloudwatch.TreatMissingData.IGNORE,
        )
        topic = self.format_arn(service="sns", resource=names.topic(spec), arn_format=ArnFormat.NO_RESOURCE_NAME)
        cast(cloudwatch.CfnAlarm, alarm.node.default_child).alarm_actions = [topic]
