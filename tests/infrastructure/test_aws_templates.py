"""What the AWS program asks CloudFormation for. What the embedded cloud ignores or does not enforce is held here."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.aws import cdk, limits, templates
from infra.spec import ROOT, load, parse
from infra.targets import Change
from wordup.errors import ConfigurationError

Properties = dict[str, Any]
Templates = Callable[[str], dict[str, templates.Template]]


@pytest.fixture(scope="session")
def synthesized(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """The templates of a profile, with the sources in the package's place."""
    folders: dict[str, Path] = {}

    def of(profile: str) -> dict[str, templates.Template]:
        if profile not in folders:
            out = tmp_path_factory.mktemp(profile)
            folders[profile] = cdk.synthesize(load(profile=profile), ROOT / "functions", folder=out)
        return templates.read(folders[profile])

    return of


@pytest.fixture(params=["dev", "production"])
def profile(request: pytest.FixtureRequest) -> str:
    return request.param


def all_of(found: dict[str, templates.Template], kind: str) -> list[templates.Template]:
    resources = [resource for template in found.values() for resource in template["Resources"].values()]
    return [resource for resource in resources if resource["Type"] == kind]


def only(found: dict[str, templates.Template], kind: str) -> Properties:
    [resource] = all_of(found, kind)
    return resource["Properties"]


def test_table_has_the_keys_and_expiry_that_the_store_writes(synthesized: Templates, profile: str):
    table = only(synthesized(profile), "AWS::DynamoDB::Table")
    assert table["KeySchema"] == [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "e", "Enabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_production_protects_its_data(synthesized: Templates):
    found = synthesized("production")
    table = only(found, "AWS::DynamoDB::Table")
    assert table["DeletionProtectionEnabled"]
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert {r["DeletionPolicy"] for r in found["wordup-data"]["Resources"].values()} == {"Retain"}


def test_dev_goes_without_a_trace(synthesized: Templates):
    found = synthesized("dev")
    assert not only(found, "AWS::DynamoDB::Table")["DeletionProtectionEnabled"]
    policies = [r.get("DeletionPolicy") for template in found.values() for r in template["Resources"].values()]
    assert "Retain" not in policies


def test_function_may_do_what_a_turn_needs_and_nothing_else(synthesized: Templates, profile: str):
    [role] = [
        role["Properties"]
        for role in all_of(synthesized(profile), "AWS::IAM::Role")
        if "lambda.amazonaws.com" in str(role["Properties"]["AssumeRolePolicyDocument"])
    ]
    assert "ManagedPolicyArns" not in role
    [policy] = role["Policies"]
    allowed = {arn(s["Resource"]): s["Action"] for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Allow"}
    here = "us-east-1:<AWS::AccountId>"
    assert allowed == {
        f"arn:<AWS::Partition>:dynamodb:{here}:table/wordup": [
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
        ],
        f"arn:<AWS::Partition>:secretsmanager:{here}:secret:wordup-??????": "secretsmanager:GetSecretValue",
        f"arn:<AWS::Partition>:logs:{here}:log-group:/aws/lambda/wordup:*": [
            "logs:CreateLogStream",
            "logs:PutLogEvents",
        ],
    }


def arn(joined: Any) -> str:
    """An ARN as text, CloudFormation's references in angle brackets."""
    return "".join(part if isinstance(part, str) else f"<{part['Ref']}>" for part in joined["Fn::Join"][1])


def test_only_this_api_may_invoke_the_function(synthesized: Templates, profile: str):
    permissions = all_of(synthesized(profile), "AWS::Lambda::Permission")
    assert len(permissions) == 2
    for permission in permissions:
        assert permission["Properties"]["Principal"] == "apigateway.amazonaws.com"
        assert "SourceArn" in permission["Properties"]


def test_function_outlasts_the_streamed_answer(synthesized: Templates, profile: str):
    function = only(synthesized(profile), "AWS::Lambda::Function")
    bot = load().bot
    assert function["Timeout"] > bot.stream_timeout_seconds > bot.provider_timeout_seconds
    assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])
    assert function["LoggingConfig"] == {"LogGroup": "/aws/lambda/wordup"}


def test_api_is_regional_throttled_and_sends_every_path_on(synthesized: Templates, profile: str):
    found = synthesized(profile)
    assert only(found, "AWS::ApiGateway::RestApi")["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
    methods = [method["Properties"] for method in all_of(found, "AWS::ApiGateway::Method")]
    assert [method["HttpMethod"] for method in methods] == ["ANY", "ANY"]
    assert {method["Integration"]["TimeoutInMillis"] for method in methods} == {limits.INTEGRATION_SECONDS * 1000}
    assert only(found, "AWS::ApiGateway::Resource")["PathPart"] == "{proxy+}"
    [settings] = only(found, "AWS::ApiGateway::Stage")["MethodSettings"]
    assert (settings["ThrottlingRateLimit"], settings["ThrottlingBurstLimit"]) == (50, 100)
    assert not settings["DataTraceEnabled"]


def test_access_log_holds_no_token_and_no_person(synthesized: Templates, profile: str):
    log = only(synthesized(profile), "AWS::ApiGateway::Stage")["AccessLogSetting"]
    assert "/aws/apigateway/wordup" in str(log["DestinationArn"])
    line = json.loads(log["Format"])
    assert line["status"] == "$context.status"
    assert [word for word in line.values() if "identity" in word or "header" in word or "query" in word] == []


def test_api_answers_problems_in_the_bots_own_words(synthesized: Templates, profile: str):
    responses = [each["Properties"] for each in all_of(synthesized(profile), "AWS::ApiGateway::GatewayResponse")]
    bodies = {each["ResponseType"]: json.loads(each["ResponseTemplates"]["application/json"]) for each in responses}
    assert bodies["THROTTLED"]["code"] == "rate_limited"
    assert {"DEFAULT_4XX", "DEFAULT_5XX"} <= set(bodies)
    assert all(body["request_id"] == "$context.requestId" for body in bodies.values())
    types = {each["ResponseParameters"]["gatewayresponse.header.Content-Type"] for each in responses}
    assert types == {"'application/problem+json'"}


def test_logs_are_kept_as_long_as_configured(synthesized: Templates, profile: str):
    groups = [group["Properties"] for group in all_of(synthesized(profile), "AWS::Logs::LogGroup")]
    assert {group["LogGroupName"] for group in groups} == {"/aws/lambda/wordup", "/aws/apigateway/wordup"}
    assert {group["RetentionInDays"] for group in groups} == {30}


def test_secret_has_no_value_in_the_template(synthesized: Templates, profile: str):
    secret = only(synthesized(profile), "AWS::SecretsManager::Secret")
    assert set(secret) == {"Name", "Description", "Tags"}
    variables = only(synthesized(profile), "AWS::Lambda::Function")["Environment"]["Variables"]
    assert variables["WORDUP_SIGNING_KEY_REF"] == "aws:wordup#signing"
    assert not {"OPENAI_API_KEY", "WORDUP_ACCESS_KEY"} & set(variables)


def test_everything_of_a_deployment_carries_its_name(synthesized: Templates, profile: str):
    found = synthesized(profile)
    for kind in ("AWS::DynamoDB::Table", "AWS::Lambda::Function", "AWS::ApiGateway::RestApi", "AWS::Logs::LogGroup"):
        for resource in all_of(found, kind):
            assert {"Key": "wordup:deployment", "Value": "wordup"} in resource["Properties"]["Tags"]


def test_stacks_follow_what_they_need(synthesized: Templates, profile: str):
    assert list(synthesized(profile)) == ["wordup-account", "wordup-data", "wordup-api"]


def test_templates_are_clean_to_cfn_lint(synthesized: Templates, profile: str, tmp_path: Path):
    for name, template in synthesized(profile).items():
        (tmp_path / f"{name}.json").write_text(json.dumps(template))
    # W3005: the CDK writes a dependency out that a reference implies.
    command = [Path(sys.executable).with_name("cfn-lint"), "--ignore-checks", "W3005", "--", *tmp_path.glob("*.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_plan_names_every_resource_and_what_it_needs(synthesized: Templates):
    planned = {resource.name: resource for resource in templates.resources(synthesized("dev"))}
    assert planned["wordup-data/TableCD117FA1"].inputs["TableName"] == "wordup"
    [function] = [resource for resource in planned.values() if resource.type == "AWS::Lambda::Function"]
    assert [planned[name].type for name in function.depends_on] == ["AWS::IAM::Role"]
    assert all(name in planned for resource in planned.values() for name in resource.depends_on)


def test_changes_are_told_by_resource():
    before = {"Resources": {"A": {"Type": "X", "Properties": {"a": 1}}, "B": {"Type": "X"}, "C": {"Type": "X"}}}
    after = {"Resources": {"A": {"Type": "X", "Properties": {"a": 2}}, "B": {"Type": "X"}, "D": {"Type": "Y"}}}
    assert templates.changes("s", after, before) == [
        Change("add", "s/D", "Y"),
        Change("change", "s/A", "X"),
        Change("remove", "s/C", "X"),
    ]
    assert templates.changes("s", after, after) == []


def test_model_that_outlasts_the_gateway_is_refused():
    limits.check(parse({}))
    with pytest.raises(ConfigurationError, match=r"bot\.provider_timeout_seconds"):
        limits.check(parse({"bot": {"provider_timeout_seconds": 29}}))


def test_bare_cdk_runs_the_same_program(synthesized: Templates, tmp_path: Path):
    bin_folder = Path(sys.executable).parent
    done = subprocess.run(
        ["cdk", "synth", "--quiet", "--output", tmp_path, "--context", "code=functions"],
        cwd=ROOT,
        env={"PATH": f"{bin_folder}:/usr/bin:/bin", "HOME": str(tmp_path), "CDK_DISABLE_VERSION_CHECK": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert templates.read(tmp_path) == synthesized("dev")
