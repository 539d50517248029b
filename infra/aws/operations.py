"""What an operator watches: alarms to an address, and a dashboard. Only in `production`; an alarm costs 0.10 dollars a
month and a dashboard 3, so `dev` has neither.

`docs/operations.md` has a section for every alarm; a test compares them. The bot writes its own metrics into its log,
in CloudWatch's Embedded Metric Format.
"""

from typing import cast

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.aws import names
from infra.spec import DeploymentSpec

MINUTE = Duration.minutes(1)
FIVE_MINUTES = Duration.minutes(5)
DAY = Duration.days(1)
# The part of the day's budget from which a person should look.
SPENT = 0.8
# What takes a new version back while it takes over.
ROLLBACK = ("function-errors", "server-errors")


class Metrics:
    """Where each figure comes from."""

    def __init__(self, spec: DeploymentSpec) -> None:
        self._api = {"ApiName": spec.name, "Stage": names.STAGE}
        self._function = {
            "FunctionName": names.function(spec),
            "Resource": f"{names.function(spec)}:{names.ALIAS}",
        }
        self._table = {"TableName": names.table(spec)}
        self._bot = {names.DEPLOYMENT_DIMENSION: spec.name}

    def api(self, name: str, statistic: str, period: Duration = FIVE_MINUTES) -> cloudwatch.Metric:
        return _metric("AWS/ApiGateway", name, self._api, statistic, period)

    def function(self, name: str, statistic: str, period: Duration = FIVE_MINUTES) -> cloudwatch.Metric:
        return _metric("AWS/Lambda", name, self._function, statistic, period)

    def table(self, name: str, statistic: str) -> cloudwatch.Metric:
        return _metric("AWS/DynamoDB", name, self._table, statistic, FIVE_MINUTES)

    def bot(self, name: str, statistic: str = "Sum", period: Duration = FIVE_MINUTES) -> cloudwatch.Metric:
        return _metric(names.METRICS, name, self._bot, statistic, period)


class OperationsStack(Stack):
    """Names everything that it watches, so that it needs nothing from the other stacks."""

    def __init__(self, scope: Construct, spec: DeploymentSpec, *, region: str) -> None:
        super().__init__(
            scope,
            names.operations_stack(spec),
            description=f"Word Up! Bot {spec.name}: alarms and dashboard",
            env={"region": region},
        )
        self._spec = spec
        self._metrics = Metrics(spec)
        self._action = cast(cloudwatch.IAlarmAction, actions.SnsAction(cast(sns.ITopic, self._topic())))
        metrics = self._metrics
        self._alarm(
            "server-errors",
            "One answer in twenty is an error of ours (5xx).",
            metrics.api("5XXError", "Average", MINUTE),
            0.05,
            periods=5,
            of_which=3,
        )
        self._alarm(
            "slow-turns",
            f"The slowest hundredth of the turns takes more than {spec.aws.alarm_p99_seconds} s.",
            metrics.bot("TurnLatency", "p99"),
            spec.aws.alarm_p99_seconds * 1000,
            periods=3,
        )
        self._alarm(
            "throttles",
            "Lambda refuses calls: the function's concurrency, or the account's, is used up.",
            metrics.function("Throttles", "Sum"),
            1,
            periods=2,
        )
        self._alarm(
            "function-errors",
            "The function ends without an answer.",
            metrics.function("Errors", "Sum", MINUTE),
            3,
            periods=3,
            of_which=2,
        )
        self._alarm(
            "turn-errors",
            "Turns fail, at the provider, the store or in ourselves; the metric's dimension Code tells which.",
            metrics.bot("Errors"),
            10,
            periods=3,
            of_which=2,
        )
        self._alarm(
            "budget-refused",
            "Turns are refused, because the day's budget of the whole deployment is spent.",
            metrics.bot("BudgetRefused"),
            1,
        )
        if spec.bot.deployment_daily_usd:
            self._alarm(
                "daily-spend",
                f"The models have cost {SPENT:.0%} of the day's budget of {spec.bot.deployment_daily_usd:g} dollars.",
                metrics.bot("CostUSD", "Sum", DAY),
                round(spec.bot.deployment_daily_usd * SPENT, 6),
            )
        self._dashboard()

    def _topic(self) -> sns.Topic:
        topic = sns.Topic(self, "Topic", topic_name=names.topic(self._spec), enforce_ssl=True)
        # With a policy of its own a topic loses the one by which CloudWatch could publish.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[cast(iam.IPrincipal, iam.ServicePrincipal("cloudwatch.amazonaws.com"))],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        if self._spec.aws.alarm_email:
            topic.add_subscription(
                cast(sns.ITopicSubscription, subscriptions.EmailSubscription(self._spec.aws.alarm_email))
            )
        return topic

    def _alarm(
        self,
        kind: str,
        sentence: str,
        metric: cloudwatch.Metric,
        threshold: float,
        *,
        periods: int = 1,
        of_which: int | None = None,
    ) -> None:
        """Rings at the threshold, in `of_which` of the last `periods` (default: all). No data is no alarm."""
        alarm = cloudwatch.Alarm(
            self,
            "".join(word.title() for word in kind.split("-")),
            alarm_name=names.alarm(self._spec, kind),
            alarm_description=f"{sentence} What to do: docs/operations.md#{kind}",
            metric=cast(cloudwatch.IMetric, metric),
            threshold=threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=periods,
            datapoints_to_alarm=of_which or periods,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(self._action)

    def _dashboard(self) -> None:
        board = cloudwatch.Dashboard(self, "Dashboard", dashboard_name=names.dashboard(self._spec))
        m = self._metrics
        by_code = cloudwatch.MathExpression(
            expression=(
                f"SEARCH('{{{names.METRICS},{names.DEPLOYMENT_DIMENSION},Code}}"
                f' MetricName="Errors" {names.DEPLOYMENT_DIMENSION}="{self._spec.name}"\', \'Sum\', 300)'
            ),
            using_metrics={},
            label="",
            period=FIVE_MINUTES,
        )
        rows: list[list[tuple[str, list[cloudwatch.Metric | cloudwatch.MathExpression]]]] = [
            [
                ("Requests and errors", [m.api("Count", "Sum"), m.api("4XXError", "Sum"), m.api("5XXError", "Sum")]),
                (
                    "Turns",
                    [
                        m.bot("Turns"),
                        m.bot("Blocked"),
                        m.bot("Limited"),
                        m.bot("BudgetRefused"),
                        m.bot("EmbeddingsFailed"),
                    ],
                ),
                ("Errors by code", [by_code]),
            ],
            [
                ("Latency of a turn, ms", [m.bot("TurnLatency", "p50"), m.bot("TurnLatency", "p99")]),
                ("Time to first token, ms", [m.bot("TimeToFirstToken", "p50"), m.bot("TimeToFirstToken", "p99")]),
                ("Latency of the API, ms", [m.api("Latency", "p50"), m.api("Latency", "p99")]),
            ],
            [
                ("Tokens", [m.bot("InputTokens"), m.bot("OutputTokens")]),
                ("Cost of the models, dollars", [m.bot("CostUSD")]),
                (
                    "Function",
                    [
                        m.function("ConcurrentExecutions", "Maximum"),
                        m.function("Throttles", "Sum"),
                        m.function("Errors", "Sum"),
                    ],
                ),
            ],
            [
                (
                    "Table",
                    [
                        m.table("ConsumedReadCapacityUnits", "Sum"),
                        m.table("ConsumedWriteCapacityUnits", "Sum"),
                        # Not ThrottledRequests, which is counted by operation only.
                        m.table("ReadThrottleEvents", "Sum"),
                        m.table("WriteThrottleEvents", "Sum"),
                    ],
                )
            ],
        ]
        for row in rows:
            board.add_widgets(
                *(
                    cast(
                        cloudwatch.IWidget,
                        cloudwatch.GraphWidget(
                            title=title, left=[cast(cloudwatch.IMetric, metric) for metric in shown], width=8
                        ),
                    )
                    for title, shown in row
                )
            )


def _metric(
    namespace: str, name: str, dimensions: dict[str, str], statistic: str, period: Duration
) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=namespace, metric_name=name, dimensions_map=dimensions, statistic=statistic, period=period
    )
