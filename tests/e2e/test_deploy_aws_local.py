"""The main job: one command puts the bot on API Gateway, Lambda and DynamoDB, here in the embedded cloud."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from infra.aws.rights import TABLE_ACTIONS
from infra.errors import DeploymentError
from tests.deploying import embedded_cloud
from tests.e2e.conftest import DeployedBot
from tests.serving import Caller

# A deployment builds the package, starts Node several times and an AWS: on a busy machine that takes its time.
pytestmark = pytest.mark.timeout(600)

QUESTION = "What does AWS Lambda cost?"


def test_deploy_answers_its_first_question(deployed_bot: DeployedBot):
    assert deployed_bot.answer
    assert httpx2.get(f"{deployed_bot.url}readyz").json() == {"status": "ok"}


def test_deployed_bot_remembers_the_conversation(deployed_bot: DeployedBot):
    caller = deployed_bot.sign_in()
    first = caller.ask(QUESTION).json()
    second = caller.ask("And memory?", conversation_id=first["conversation_id"]).json()
    # Another session, as of somebody who comes back.
    exported = deployed_bot.sign_in().http.get(f"/v1/conversations/{first['conversation_id']}/export").json()
    said = [QUESTION, first["message"], "And memory?", second["message"]]
    assert [message["content"] for message in exported["messages"]] == said


def test_deployed_bot_streams_and_refuses_as_at_home(deployed_bot: DeployedBot):
    events = deployed_bot.sign_in().events(QUESTION)
    assert [name for name, _ in (events[0], events[-1])] == ["start", "done"]
    refused = httpx2.post(f"{deployed_bot.url}v1/sessions", json={}, headers={"x-api-key": "wu_unknown"})
    assert (refused.status_code, refused.json()["code"]) == (403, "wrong_access_key")
    assert refused.headers["content-type"] == "application/problem+json"


def test_page_is_served_under_the_stage_prefix(deployed_bot: DeployedBot):
    page = httpx2.get(deployed_bot.url)
    assert page.headers["content-type"].startswith("text/html")
    assert 'src="/' not in page.text
    assert 'href="/' not in page.text


def test_what_the_embedded_cloud_ignores_is_applied(deployed_bot: DeployedBot):
    dynamodb = deployed_bot.cloud.client("dynamodb")
    ttl = dynamodb.describe_time_to_live(TableName="wordup")["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "e"}


def test_secrets_stand_only_in_the_secret(deployed_bot: DeployedBot):
    cloud = deployed_bot.cloud
    secret = json.loads(cloud.client("secretsmanager").get_secret_value(SecretId="wordup")["SecretString"])
    words = [deployed_bot.key, *secret["signing"]["keys"].values()]
    function = cloud.client("lambda").get_function_configuration(FunctionName="wordup")
    stacks = cloud.client("cloudformation").describe_stacks()["Stacks"]
    templates = [
        cloud.client("cloudformation").get_template(StackName=stack["StackName"])["TemplateBody"] for stack in stacks
    ]
    logs = cloud.client("logs").filter_log_events(logGroupName="/aws/lambda/wordup")["events"]
    rows = cloud.client("dynamodb").scan(TableName="wordup")["Items"]
    found = json.dumps([function, stacks, templates, logs, rows], default=str)
    assert "WORDUP_SIGNING_KEY_REF" in found
    assert [word for word in words if word in found] == []


@contextmanager
def without(bot: DeployedBot, action: str) -> Iterator[None]:
    """The function's role, with one action taken out of its policy."""
    iam = bot.cloud.client("iam")
    [role] = [
        name for name in (each["RoleName"] for each in iam.list_roles()["Roles"]) if name.startswith("wordup-api")
    ]
    policy = {"RoleName": role, "PolicyName": "Function"}
    document = iam.get_role_policy(**policy)["PolicyDocument"]
    less = copy.deepcopy(document)
    for statement in less["Statement"]:
        actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        statement["Action"] = [each for each in actions if each != action]
    less["Statement"] = [statement for statement in less["Statement"] if statement["Action"]]
    assert less != document
    iam.put_role_policy(**policy, PolicyDocument=json.dumps(less))
    try:
        yield
    finally:
        iam.put_role_policy(**policy, PolicyDocument=json.dumps(document))


def a_life(caller: Caller) -> list[httpx2.Response]:
    """What a conversation and its end need of the table."""
    asked = caller.ask(QUESTION)
    known = asked.json().get("conversation_id", "none")
    return [asked, caller.http.delete(f"/v1/conversations/{known}")]


@pytest.mark.parametrize("action", [f"dynamodb:{action}" for action in TABLE_ACTIONS])
def test_function_is_denied_what_its_role_lacks(deployed_bot: DeployedBot, action: str):
    caller = deployed_bot.sign_in()
    with without(deployed_bot, action):
        answers = a_life(caller)
    denied = [answer.json() for answer in answers if answer.status_code == 503]
    assert {answer["code"] for answer in denied} == {"store_unavailable"}
    assert "AccessDeniedException" in denied[0]["detail"]
    assert [answer.status_code for answer in a_life(caller)] == [200, 204]


def test_function_is_denied_the_secret_that_its_role_lacks(deployed_bot: DeployedBot):
    """Of an instance that has not read it yet, as nothing has called the unpublished version."""
    functions = deployed_bot.cloud.client("lambda")
    alias = {"FunctionName": "wordup", "Name": "live"}
    published = functions.get_alias(**alias)["FunctionVersion"]
    with without(deployed_bot, "secretsmanager:GetSecretValue"):
        functions.update_alias(**alias, FunctionVersion="$LATEST")
        try:
            denied = httpx2.get(f"{deployed_bot.url}readyz")
        finally:
            functions.update_alias(**alias, FunctionVersion=published)
    assert (denied.status_code, denied.json()["code"]) == (503, "secret_unavailable")
    assert "AccessDeniedException" in denied.json()["detail"]


def test_second_deploy_changes_nothing(deployed_bot: DeployedBot):
    again = deployed_bot.cloud.run("deploy", "--json")
    assert "Nothing changes." in again.stderr
    assert json.loads(again.stdout)["url"] == deployed_bot.url
    assert deployed_bot.cloud.wordup("outputs")["access_key"] == deployed_bot.key


def test_deploy_prints_exactly_its_document(deployed_bot: DeployedBot):
    done = deployed_bot.cloud.wordup("deploy")
    assert set(done) == {"url", "access_key_ref", "target", "seconds", "answer"}
    assert (done["access_key_ref"], done["target"]) == ("aws:wordup#access_key", "local")


def test_key_that_no_longer_opens_is_replaced_by_the_next_deploy(deployed_bot: DeployedBot):
    cloud = deployed_bot.cloud
    secrets = cloud.client("secretsmanager")
    before = secrets.get_secret_value(SecretId="wordup")["SecretString"]
    secrets.put_secret_value(SecretId="wordup", SecretString=json.dumps(json.loads(before) | {"access_key": "wu_gone"}))
    cloud.wordup("deploy")
    key = cloud.wordup("outputs")["access_key"]
    secrets.put_secret_value(SecretId="wordup", SecretString=before)
    assert key not in (deployed_bot.key, "wu_gone")
    assert cloud.caller(deployed_bot.url, key).ask(QUESTION).status_code == 200


def test_two_deployments_live_side_by_side(deployed_bot: DeployedBot):
    cloud = deployed_bot.cloud
    cloud.wordup("deploy", "--name", "beside")
    beside = cloud.wordup("outputs", "--name", "beside")
    stranger = httpx2.post(f"{beside['url']}v1/sessions", json={}, headers={"x-api-key": deployed_bot.key})
    assert stranger.json()["code"] == "wrong_access_key"
    gone = cloud.wordup("destroy", "--name", "beside")
    assert gone["left"] == []
    assert "table beside" in gone["removed"]
    assert [kept["name"] for kept in gone["kept"]] == ["stack wordup-account", "stack CDKToolkit"]
    assert "beside" not in cloud.client("dynamodb").list_tables()["TableNames"]
    assert deployed_bot.sign_in().ask(QUESTION).status_code == 200


def test_offline_plan_needs_no_account_and_starts_nothing(tmp_path: Path):
    with embedded_cloud(tmp_path / "aws") as cloud:
        planned = cloud.wordup("plan", "--to", "aws", "--offline")
        assert set(planned) == {"resources", "bill"}
        assert all(set(resource) == {"name", "type", "inputs", "depends_on"} for resource in planned["resources"])
        assert {"AWS::DynamoDB::Table", "AWS::Lambda::Function"} <= {each["type"] for each in planned["resources"]}
        assert not cloud.folder.exists()


def test_without_a_deployment_nothing_is_started(tmp_path: Path):
    with embedded_cloud(tmp_path / "aws") as cloud:
        with pytest.raises(DeploymentError, match="Nothing is deployed"):
            cloud.run("outputs")
        assert cloud.wordup("destroy") == {"removed": [], "kept": [], "left": []}
        assert not cloud.folder.exists()


def test_unknown_target_is_wrong_usage(tmp_path: Path):
    with embedded_cloud(tmp_path / "aws") as cloud:
        result = cloud.run("deploy", "--to", "mars")
        assert result.exit_code == 2
        assert "local" in result.stderr
