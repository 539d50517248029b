"""What a removal finds of a deployment, asked of every service itself: here of moto, which has those that the embedded
cloud lacks."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from infra.aws.edge import MANAGED_RULES
from infra.aws.inventory import present
from infra.spec import parse
from tests.emulators import AWS_ENVIRONMENT, moto_server

SPEC = parse({"name": "bot-one", "profile": "production"})
VISIBILITY = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": True, "MetricName": "x"}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    for name, value in AWS_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    made: dict[str, Any] = {}
    session = botocore.session.Session()
    with moto_server(tmp_path) as url:

        def of(service: str) -> Any:
            if service not in made:
                made[service] = session.create_client(service, endpoint_url=url)
            return made[service]

        yield of
        for each in made.values():
            each.close()


def deploy(client: Callable[[str], Any], name: str) -> None:
    """One of everything that an account alone takes, and of what watches."""
    client("wafv2").create_web_acl(
        Name=name,
        Scope="REGIONAL",
        DefaultAction={"Allow": {}},
        VisibilityConfig=VISIBILITY,
        Rules=[
            {
                "Name": group,
                "Priority": priority,
                "OverrideAction": {"None": {}},
                "Statement": {"ManagedRuleGroupStatement": {"VendorName": "AWS", "Name": group}},
                "VisibilityConfig": VISIBILITY,
            }
            for priority, group in enumerate(MANAGED_RULES)
        ],
    )
    client("codedeploy").create_application(applicationName=name, computePlatform="Lambda")
    account = client("sts").get_caller_identity()["Account"]
    limit = {"BudgetName": name, "BudgetType": "COST", "TimeUnit": "MONTHLY"}
    client("budgets").create_budget(AccountId=account, Budget=limit | {"BudgetLimit": {"Amount": "1", "Unit": "USD"}})
    client("cloudwatch").put_metric_alarm(
        AlarmName=f"{name}-throttles",
        Namespace="AWS/Lambda",
        MetricName="Throttles",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    client("cloudwatch").put_dashboard(DashboardName=name, DashboardBody='{"widgets": []}')
    client("sns").create_topic(Name=f"{name}-alarms")


def test_everything_of_this_deployment_is_found_and_of_no_other(client: Callable[[str], Any]):
    deploy(client, "bot-one-b")
    assert present(client, SPEC, is_account=True) == []
    deploy(client, "bot-one")
    assert present(client, SPEC, is_account=True) == [
        "alarm bot-one-throttles",
        "dashboard bot-one",
        "topic bot-one-alarms",
        "firewall bot-one",
        "CodeDeploy application bot-one",
        "budget bot-one",
    ]
