"""What the AWS program asks CloudFormation for. What the embedded cloud ignores or does not enforce is held here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.aws import limits, nag, templates
from infra.aws.api import PROBLEM_HEADERS
from infra.spec import ROOT, parse
from infra.targets import Change
from tests.infrastructure.aws_templates import (
    SETTINGS,
    Assemblies,
    Templates,
    all_of,
    arn,
    function_role,
    normalised,
    only,
)
from tests.infrastructure.template_snapshots import FOLDER, PROFILES, files
from wordup.app import SECURITY_HEADERS
from wordup.errors import ConfigurationError

# Each synthesis starts Node twice.
pytestmark = pytest.mark.timeout(300)

CERTIFICATE = SETTINGS["furnished"]["aws"]["certificate_arn"]


@pytest.fixture(params=["dev", "production"])
def profile(request: pytest.FixtureRequest) -> str:
    return request.param


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
    kept = {
        resource["Type"]
        for template in found.values()
        for resource in template["Resources"].values()
        if resource.get("DeletionPolicy") == "Retain"
    }
    assert kept == {"AWS::Lambda::Version"}  # it goes with its function


def test_function_may_do_what_a_turn_needs_and_nothing_else(synthesized: Templates, profile: str):
    role = function_role(synthesized(profile))
    assert "ManagedPolicyArns" not in role
    [policy] = role["Policies"]
    allowed = {arn(s["Resource"]): s["Action"] for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Allow"}
    here = "us-east-1:<AWS::AccountId>"
    traces = {"*": ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]} if profile == "production" else {}
    assert allowed == traces | {
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


def test_only_this_api_may_invoke_the_function(synthesized: Templates, profile: str):
    permissions = all_of(synthesized(profile), "AWS::Lambda::Permission")
    assert len(permissions) == 4
    for permission in permissions:
        assert permission["Properties"]["FunctionName"] == {"Ref": "Live848578DF"}
        assert permission["Properties"]["Principal"] == "apigateway.amazonaws.com"
        assert "SourceArn" in permission["Properties"]


def test_function_outlasts_the_streamed_answer_and_that_the_buffered_one(synthesized: Templates, profile: str):
    function = only(synthesized(profile), "AWS::Lambda::Function")
    variables = function["Environment"]["Variables"]
    streamed = float(variables["WORDUP_STREAM_TIMEOUT_SECONDS"])
    buffered = float(variables["WORDUP_PROVIDER_TIMEOUT_SECONDS"])
    assert function["Timeout"] > streamed > buffered
    assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])
    assert variables["AWS_LAMBDA_EXEC_WRAPPER"] == "/var/task/bootstrap"
    assert variables["WORDUP_RESPONSE_MODE"] == "stream"
    assert function["LoggingConfig"] == {"LogGroup": "/aws/lambda/wordup"}


def test_api_calls_the_version_that_the_alias_names(synthesized: Templates, profile: str):
    found = synthesized(profile)
    alias = only(found, "AWS::Lambda::Alias")
    [version] = [name for name, each in found["wordup-api"]["Resources"].items() if each["Type"].endswith("::Version")]
    assert alias["FunctionVersion"] == {"Fn::GetAtt": [version, "Version"]}
    for method in all_of(found, "AWS::ApiGateway::Method"):
        assert {"Ref": "Live848578DF"} in method["Properties"]["Integration"]["Uri"]["Fn::Join"][1]


def test_api_is_regional_throttled_and_sends_every_path_on(synthesized: Templates, profile: str):
    found = synthesized(profile)
    assert only(found, "AWS::ApiGateway::RestApi")["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
    methods = [method["Properties"] for method in all_of(found, "AWS::ApiGateway::Method")]
    assert sorted(method["HttpMethod"] for method in methods) == ["ANY", "ANY", "ANY", "POST"]
    assert {method["Integration"]["TimeoutInMillis"] for method in methods} == {135_000}
    assert {method["Integration"]["ResponseTransferMode"] for method in methods} == {"STREAM"}
    assert all("/response-streaming-invocations" in str(method["Integration"]["Uri"]) for method in methods)
    paths = {each["Properties"]["PathPart"] for each in all_of(found, "AWS::ApiGateway::Resource")}
    assert paths == {"{proxy+}", "chat"}
    [settings] = only(found, "AWS::ApiGateway::Stage")["MethodSettings"]
    assert (settings["ThrottlingRateLimit"], settings["ThrottlingBurstLimit"]) == (50, 100)
    assert not settings["DataTraceEnabled"]


def test_api_takes_tls_1_2_at_least(synthesized: Templates, profile: str):
    api = only(synthesized(profile), "AWS::ApiGateway::RestApi")
    assert api["SecurityPolicy"] == "SecurityPolicy_TLS13_1_2_PQ_2025_09"
    assert api["EndpointAccessMode"] == "STRICT"


def test_question_that_is_no_json_object_stops_at_the_api(synthesized: Templates, profile: str):
    found = synthesized(profile)
    [method] = [
        m["Properties"] for m in all_of(found, "AWS::ApiGateway::Method") if "RequestValidatorId" in m["Properties"]
    ]
    assert method["HttpMethod"] == "POST"
    assert only(found, "AWS::ApiGateway::RequestValidator")["ValidateRequestBody"]
    model = only(found, "AWS::ApiGateway::Model")
    assert (method["RequestModels"].keys(), model["Schema"]["type"]) == ({"application/json"}, "object")


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
    shared = {name: value for name, value in PROBLEM_HEADERS.items() if name != "Content-Type"}
    assert {name.lower(): value for name, value in shared.items()}.items() <= SECURITY_HEADERS.items()
    for each in responses:
        for name, value in shared.items():
            assert each["ResponseParameters"][f"gatewayresponse.header.{name}"] == f"'{value}'"


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


def test_stacks_follow_what_they_need(synthesized: Templates):
    assert list(synthesized("dev")) == ["wordup-account", "wordup-data", "wordup-api"]
    stacks = ["wordup-account", "wordup-data", "wordup-operations", "wordup-guard", "wordup-api", "wordup-edge"]
    assert list(synthesized("production")) == stacks


def test_templates_are_clean_to_cfn_lint(synthesized: Templates, tmp_path: Path):
    for settings in ("dev", "furnished"):
        for name, template in synthesized(settings).items():
            (tmp_path / f"{settings}-{name}.json").write_text(json.dumps(template))
    # W3005: the CDK writes a dependency out that a reference implies.
    command = [Path(sys.executable).with_name("cfn-lint"), "--ignore-checks", "W3005", "--", *tmp_path.glob("*.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_templates_are_those_that_were_reviewed(synthesized: Templates):
    made = {name: text for profile in PROFILES for name, text in files(profile, synthesized(profile)).items()}
    reviewed = {path.relative_to(FOLDER).as_posix(): path.read_text("utf-8") for path in FOLDER.rglob("*.json")}
    assert made == reviewed, "run `make docs`, and review what changes under tests/infrastructure/snapshots"


@pytest.mark.parametrize("settings", SETTINGS)
def test_cdk_nag_finds_nothing_but_what_has_its_reason(assemblies: Assemblies, settings: str):
    report = json.loads((assemblies(settings) / "validation-report.json").read_text("utf-8"))
    [found] = [each for each in report["pluginReports"] if each["pluginName"] == "AwsSolutions"]
    assert (found["conclusion"], found["violations"]) == ("success", [])
    excused = {(each["acknowledgedAt"], each["acknowledgedId"]) for each in found["suppressedViolations"]}
    assert all(each["reason"] for each in found["suppressedViolations"])
    # And no reason is left over from what is kept by now.
    stacks = json.loads((assemblies(settings) / "manifest.json").read_text("utf-8"))["artifacts"]
    given = nag.acknowledged(parse(SETTINGS[settings]))
    assert excused == {(stack, f"AwsSolutions::AwsSolutions-{rule}") for stack, rule, _ in given if stack in stacks}


def test_cdk_nag_stops_what_has_no_reason(tmp_path: Path):
    program = (
        "import aws_cdk as cdk; from aws_cdk import aws_s3; from infra.aws import nag; from infra.spec import parse;"
        "app = cdk.App(); aws_s3.CfnBucket(cdk.Stack(app, 'wordup-api'), 'Open');"
        "nag.examine(app, parse({})); app.synth()"
    )
    environment = {**os.environ, "CDK_OUTDIR": str(tmp_path), "JSII_NODE": str(Path(sys.executable).with_name("node"))}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 1
    assert "AwsSolutions-S1" in (tmp_path / "validation-report.json").read_text("utf-8")


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


@pytest.mark.parametrize(
    ("document", "setting"),
    [
        ({"bot": {"stream_timeout_seconds": 20}}, "bot.stream_timeout_seconds"),
        ({"bot": {"provider": "openai", "model": "openai:gpt-3.5-turbo"}}, "bot.model"),
        ({"bot": {"provider": "openai", "model": "openai:unheard-of"}}, "bot.model"),
        ({"bot": {"allowed_origins": "https://site.example/"}}, "bot.allowed_origins"),
        ({"bot": {"allowed_origins": "*"}}, "bot.allowed_origins"),
        ({"aws": {"domain": "bot.example.com"}}, "aws.domain"),
        (
            {"aws": {"domain": "a.example", "certificate_arn": CERTIFICATE, "region": "eu-west-1"}},
            "aws.certificate_arn",
        ),
        ({"aws": {"hosted_zone_id": "Z0123"}}, "aws.hosted_zone_id"),
        ({"aws": {"subnet_ids": ["subnet-0123456789abcdef0"]}}, "aws.subnet_ids"),
    ],
)
def test_settings_that_do_not_hang_together_are_refused(document: dict[str, Any], setting: str):
    limits.check(parse({}))
    with pytest.raises(ConfigurationError) as caught:
        limits.check(parse(document))
    assert caught.value.setting == setting
    assert caught.value.mend


def test_production_in_an_account_wants_somebody_who_hears_its_alarms():
    limits.check_for_account(parse(SETTINGS["production"]))
    with pytest.raises(ConfigurationError, match=r"aws\.alarm_email"):
        limits.check_for_account(parse({"profile": "production"}))


def test_bare_cdk_runs_the_same_program(synthesized: Templates, tmp_path: Path):
    bin_folder = Path(sys.executable).parent
    done = subprocess.run(
        ["cdk", "synth", "--quiet", "--output", tmp_path, "--context", "code=functions"],
        cwd=ROOT,
        env={
            "PATH": f"{bin_folder}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "CDK_DISABLE_VERSION_CHECK": "true",
            # The CDK's library, 100 MB, as it was unpacked for the other tests.
            "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(Path.home() / ".cache" / "aws" / "jsii" / "package-cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    bare, ours = templates.read(tmp_path), synthesized("dev")
    assert {name: normalised(it) for name, it in bare.items()} == {name: normalised(it) for name, it in ours.items()}
