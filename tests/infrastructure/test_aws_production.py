"""What `production` has on AWS beside the bot: who is told, what guards it, what a release goes through."""

import json
import re
from typing import Any

import pytest

from infra.aws import names
from infra.aws.edge import MANAGED_RULES
from infra.aws.operations import ROLLBACK
from infra.spec import ROOT, parse
from tests.infrastructure.aws_templates import SETTINGS, Templates, all_of, arn, function_role, only

OPERATIONS = ROOT / "docs" / "operations.md"
# US dollars a month in us-east-1 for one that does nothing, by https://aws.amazon.com/secrets-manager/pricing/ and the
# same pages of cloudwatch, waf and kms; whatever is not here is billed by use, or not at all.
IDLE_USD = {
    "AWS::SecretsManager::Secret": 0.40,
    "AWS::CloudWatch::Alarm": 0.10,
    "AWS::CloudWatch::Dashboard": 3.0,
    "AWS::WAFv2::WebACL": 5.0,
    "AWS::KMS::Key": 1.0,
}


# AWS's own metrics, by the dimensions they are published by; under others there is no data, and nothing says so.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
PUBLISHED = {
    ("AWS/ApiGateway", "ApiName", "Stage"): {"4XXError", "5XXError", "Count", "Latency"},
    ("AWS/Lambda", "FunctionName", "Resource"): {"ConcurrentExecutions", "Errors", "Invocations", "Throttles"},
    ("AWS/DynamoDB", "TableName"): {
        "ConsumedReadCapacityUnits",
        "ConsumedWriteCapacityUnits",
        "ReadThrottleEvents",
        "WriteThrottleEvents",
    },
}


def alarms(found: Any) -> dict[str, Any]:
    return {each["Properties"]["AlarmName"]: each["Properties"] for each in all_of(found, "AWS::CloudWatch::Alarm")}


def test_dev_idles_under_a_dollar_a_month(synthesized: Templates):
    found = synthesized("dev")
    assert sum(price * len(all_of(found, kind)) for kind, price in IDLE_USD.items()) < 1
    function = only(found, "AWS::Lambda::Function")
    assert not {"SnapStart", "ReservedConcurrentExecutions", "TracingConfig"} & set(function)
    assert {"ProvisionedConcurrencyConfig"} & set(only(found, "AWS::Lambda::Alias")) == set()


def test_alarms_ring_at_the_address(synthesized: Templates):
    found = synthesized("furnished")
    subscription = only(found, "AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "operator@example.com")
    topics = {
        arn(action) if "Fn::Join" in action else action["Ref"]
        for a in alarms(found).values()
        for action in a["AlarmActions"]
    }
    assert topics == {
        subscription["TopicArn"]["Ref"],
        "arn:<AWS::Partition>:sns:us-east-1:<AWS::AccountId>:wordup-alarms",
    }
    assert only(found, "AWS::SNS::Topic")["TopicName"] == "wordup-alarms"
    publisher, plain = only(found, "AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    if publisher["Effect"] == "Deny":
        publisher, plain = plain, publisher
    assert publisher["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert publisher["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert (plain["Effect"], plain["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_every_alarm_has_its_section_and_every_section_its_alarm(synthesized: Templates):
    found = alarms(synthesized("furnished"))
    assert set(found) == {f"wordup-{kind}" for kind in names.ALARMS}
    text = OPERATIONS.read_text("utf-8").partition("## Alarms")[2].partition("\n## ")[0]
    sections = dict(re.findall(r"^### ([a-z0-9-]+)\n\n(.+?)(?=^### |\Z)", text, re.DOTALL | re.MULTILINE))
    assert set(sections) == set(names.ALARMS)
    assert all("\n1. " in section or "](#" in section for section in sections.values())
    for name, alarm in found.items():
        assert alarm["AlarmDescription"].endswith(f"docs/operations.md#{name.removeprefix('wordup-')}")


@pytest.mark.parametrize(
    ("kind", "namespace", "metric", "statistic"),
    [
        ("server-errors", "AWS/ApiGateway", "5XXError", "Average"),
        ("slow-turns", "WordUpBot", "TurnLatency", "p99"),
        ("throttles", "AWS/Lambda", "Throttles", "Sum"),
        ("function-errors", "AWS/Lambda", "Errors", "Sum"),
        ("turn-errors", "WordUpBot", "Errors", "Sum"),
        ("budget-refused", "WordUpBot", "BudgetRefused", "Sum"),
        ("daily-spend", "WordUpBot", "CostUSD", "Sum"),
    ],
)
def test_alarm_watches_its_metric(synthesized: Templates, kind: str, namespace: str, metric: str, statistic: str):
    alarm = alarms(synthesized("production"))[f"wordup-{kind}"]
    assert (alarm["Namespace"], alarm["MetricName"]) == (namespace, metric)
    assert alarm.get("Statistic", alarm.get("ExtendedStatistic")) == statistic
    dimensions = {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
    expected = {
        "AWS/ApiGateway": {"ApiName": "wordup", "Stage": "live"},
        "AWS/Lambda": {"FunctionName": "wordup", "Resource": "wordup:live"},
        "WordUpBot": {"Deployment": "wordup"},
    }
    assert dimensions == expected[namespace]


def test_alarm_thresholds_follow_the_settings(synthesized: Templates):
    found, spec = alarms(synthesized("production")), parse(SETTINGS["production"])
    assert found["wordup-slow-turns"]["Threshold"] == spec.aws.alarm_p99_seconds * 1000
    assert found["wordup-daily-spend"]["Threshold"] == spec.bot.deployment_daily_usd * 0.8


def test_model_that_ends_is_told_of_60_days_before(synthesized: Templates):
    """openai:gpt-4o ends on 2027-01-14, which is 1,799,884,800 seconds after the epoch."""
    alarm = alarms(synthesized("furnished"))["wordup-model-shutdown"]
    [days_left] = [each["Expression"] for each in alarm["Metrics"] if "Expression" in each]
    assert days_left == "(1799884800 - EPOCH(calls)) / 86400"
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (60, "LessThanThreshold")
    assert "2027-01-14" in alarm["AlarmDescription"]
    assert "wordup-model-shutdown" not in alarms(synthesized("production"))  # the offline model does not end


def test_budget_counts_this_deployment_and_tells_the_address(synthesized: Templates):
    inputs = only(synthesized("production"), "AWS::Budgets::Budget")
    assert inputs["Budget"]["CostFilters"] == {"TagKeyValue": ["user:wordup:deployment$wordup"]}
    assert inputs["Budget"]["BudgetLimit"] == {"Amount": 100, "Unit": "USD"}
    told = inputs["NotificationsWithSubscribers"]
    assert {each["Notification"]["NotificationType"] for each in told} == {"ACTUAL", "FORECASTED"}
    assert all(
        each["Subscribers"] == [{"Address": "operator@example.com", "SubscriptionType": "EMAIL"}] for each in told
    )


def test_release_takes_over_gradually_and_goes_back_on_an_alarm(synthesized: Templates):
    found = synthesized("production")
    [alias] = all_of(found, "AWS::Lambda::Alias")
    group = only(found, "AWS::CodeDeploy::DeploymentGroup")
    update = alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    assert update == {"ApplicationName": group["ApplicationName"], "DeploymentGroupName": group["DeploymentGroupName"]}
    assert group["DeploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
    assert group["AutoRollbackConfiguration"]["Enabled"]
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
    watched = {each["Name"] for each in group["AlarmConfiguration"]["Alarms"]}
    assert watched == {f"wordup-{kind}" for kind in ROLLBACK}
    for name in watched:  # within the five minutes of the canary
        alarm = alarms(found)[name]
        assert alarm["Period"] * alarm["DatapointsToAlarm"] < 300
    assert "UpdatePolicy" not in all_of(synthesized("dev"), "AWS::Lambda::Alias")[0]


def test_function_starts_from_a_snapshot_within_its_own_concurrency(synthesized: Templates):
    function = only(synthesized("production"), "AWS::Lambda::Function")
    assert function["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert function["ReservedConcurrentExecutions"] == 50
    assert function["TracingConfig"] == {"Mode": "Active"}


def test_firewall_stands_before_the_stage_and_lets_long_code_through(synthesized: Templates):
    found = synthesized("production")
    rate, *managed = only(found, "AWS::WAFv2::WebACL")["Rules"]
    assert rate["Statement"]["RateBasedStatement"]["Limit"] == 1000
    assert rate["Action"]["Block"]["CustomResponse"]["ResponseCode"] == 429
    groups = {rule["Name"]: rule["Statement"]["ManagedRuleGroupStatement"] for rule in managed}
    assert set(groups) == set(MANAGED_RULES)
    counting = {
        override["Name"]
        for group in groups.values()
        for override in group.get("RuleActionOverrides", [])
        if override["ActionToUse"] == {"Count": {}}
    }
    assert {"SizeRestrictions_BODY", "CrossSiteScripting_BODY", "GenericLFI_BODY", "Log4JRCE_BODY"} <= counting
    assert all(rule.endswith("_BODY") for rule in counting)  # the rest still blocks
    assert "live" in json.dumps(only(found, "AWS::WAFv2::WebACLAssociation")["ResourceArn"])


def test_firewall_keeps_no_request(synthesized: Templates):
    acl = only(synthesized("production"), "AWS::WAFv2::WebACL")
    for part in (acl, *acl["Rules"]):
        assert part["VisibilityConfig"]["SampledRequestsEnabled"] is False


def test_domain_of_ones_own_takes_tls_1_2_and_is_the_only_way_in(synthesized: Templates):
    found = synthesized("furnished")
    domain = only(found, "AWS::ApiGateway::DomainName")
    assert (domain["DomainName"], domain["EndpointConfiguration"]) == ("bot.example.com", {"Types": ["REGIONAL"]})
    assert domain["SecurityPolicy"] == "SecurityPolicy_TLS13_1_2_PQ_2025_09"
    assert only(found, "AWS::ApiGateway::RestApi")["DisableExecuteApiEndpoint"]
    assert only(found, "AWS::ApiGateway::BasePathMapping")["Stage"]
    assert {each["Properties"]["Type"] for each in all_of(found, "AWS::Route53::RecordSet")} == {"A", "AAAA"}


def test_one_other_origin_may_read_what_the_gateway_says(synthesized: Templates):
    for each in all_of(synthesized("furnished"), "AWS::ApiGateway::GatewayResponse"):
        allowed = each["Properties"]["ResponseParameters"]["gatewayresponse.header.Access-Control-Allow-Origin"]
        assert allowed == "'https://site.example'"


def test_function_runs_in_the_operators_network(synthesized: Templates):
    found = synthesized("furnished")
    assert only(found, "AWS::Lambda::Function")["VpcConfig"] == {
        "SubnetIds": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        "SecurityGroupIds": ["sg-0123456789abcdef0"],
    }
    [policy] = function_role(found)["Policies"]
    wide = [s["Action"] for s in policy["PolicyDocument"]["Statement"] if s["Resource"] == "*"]
    assert [action[0].partition(":")[0] for action in wide] == ["xray", "ec2"]


def test_dashboard_shows_every_metric_of_the_bot(synthesized: Templates):
    body = json.dumps(only(synthesized("production"), "AWS::CloudWatch::Dashboard")["DashboardBody"])
    metrics = "Turns TurnLatency TimeToFirstToken InputTokens OutputTokens CostUSD Blocked Limited Errors BudgetRefused"
    metrics += " EmbeddingsFailed"
    assert [name for name in metrics.split() if name not in body] == []


def test_metrics_of_awss_own_are_asked_for_as_aws_publishes_them(synthesized: Templates):
    found = synthesized("furnished")
    parts = only(found, "AWS::CloudWatch::Dashboard")["DashboardBody"]["Fn::Join"][1]
    widgets = json.loads("".join(part if isinstance(part, str) else "us-east-1" for part in parts))["widgets"]
    lines = [line for widget in widgets for line in widget["properties"]["metrics"] if isinstance(line[0], str)]
    asked = {(line[0], *line[2:-1:2], line[1]) for line in lines}
    stats = [
        each["MetricStat"]["Metric"]
        for a in alarms(found).values()
        for each in a.get("Metrics", [])
        if "MetricStat" in each
    ]
    watched = [*stats, *(a for a in alarms(found).values() if "MetricName" in a)]
    asked |= {(m["Namespace"], *sorted(each["Name"] for each in m["Dimensions"]), m["MetricName"]) for m in watched}
    theirs = {metric for metric in asked if metric[0].startswith("AWS/")}
    assert len(theirs) == 12
    assert [metric for metric in theirs if metric[-1] not in PUBLISHED[metric[:-1]]] == []


def test_tags_of_the_operator_are_on_what_takes_tags(synthesized: Templates):
    for resource in all_of(synthesized("furnished"), "AWS::WAFv2::WebACL"):
        assert {"Key": "team", "Value": "support"} in resource["Properties"]["Tags"]
