"""What an operator does to a deployed bot while people talk to it: new keys, feedback, its data out and in again."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import DeployedBot
from tests.rotating import as_if_later, asking, kid, past_the_guard

pytestmark = pytest.mark.timeout(600)


@contextmanager
def another_version(function: Any) -> Iterator[None]:
    """The deployed function in a process that reads the secret anew; then the one of before again, with its cache."""
    live = {"FunctionName": "wordup", "Name": "live"}
    before = function.get_alias(**live)["FunctionVersion"]
    function.update_function_configuration(FunctionName="wordup", Description="another version")
    other = function.publish_version(FunctionName="wordup")["Version"]
    function.update_alias(**live, FunctionVersion=other)
    yield
    function.update_alias(**live, FunctionVersion=before)
    function.delete_function(FunctionName="wordup", Qualifier=other)
    function.update_function_configuration(FunctionName="wordup", Description="")


def test_rotation_logs_nobody_out_of_the_deployed_bot(deployed_bot: DeployedBot):
    cloud = deployed_bot.cloud
    secrets = cloud.client("secretsmanager")
    key = cloud.wordup("user", "add", "rotating", "--to", "local")["access_key"]
    early = cloud.caller(deployed_bot.url, key)
    with asking(early, pause=2.5) as statuses:  # thirty turns a minute are a person's limit
        published = cloud.wordup("secret", "rotate", "--to", "local", "--no-wait")
        secret = json.loads(secrets.get_secret_value(SecretId="wordup")["SecretString"])
        secret["signing"] = json.loads(as_if_later(json.dumps(secret["signing"])))
        secrets.put_secret_value(SecretId="wordup", SecretString=json.dumps(secret))
        signing = cloud.wordup("secret", "rotate", "--to", "local", "--no-wait")
        past_the_guard()
        with another_version(cloud.client("lambda")):
            late = cloud.caller(deployed_bot.url, key)
            asked = len(statuses)
            while len(statuses) < asked + 2:
                assert late.http.get("/v1/me/usage").status_code == 200
        assert late.http.get("/v1/me/usage").status_code == 200
    assert [published["state"], signing["state"]] == ["published", "signing"]
    assert (kid(early) != published["kid"], kid(late)) == (True, published["kid"])
    assert len(statuses) > 3
    assert set(statuses) == {200}


def test_provider_key_is_put_where_the_function_reads_it(deployed_bot: DeployedBot):
    cloud = deployed_bot.cloud
    secrets = cloud.client("secretsmanager")
    before = secrets.get_secret_value(SecretId="wordup")["SecretString"]
    done = cloud.run("secret", "set", "provider_key", "--to", "local", "--json", given="sk-by-hand\n")
    after = json.loads(secrets.get_secret_value(SecretId="wordup")["SecretString"])
    secrets.put_secret_value(SecretId="wordup", SecretString=before)
    assert after == json.loads(before) | {"provider_key": "sk-by-hand"}
    assert "sk-by-hand" not in done.stdout + done.stderr


def test_stored_rows_leave_the_deployed_bot_and_come_back(deployed_bot: DeployedBot, tmp_path: Path):
    cloud, file = deployed_bot.cloud, str(tmp_path / "archive")
    caller = deployed_bot.sign_in()
    message_id = caller.ask("What is AWS Lambda?").json()["message_id"]
    assert caller.http.put(f"/v1/messages/{message_id}/feedback", json={"rating": "down", "comment": "!"}).is_success
    told = cloud.wordup("feedback", "report", "--to", "local")
    assert [each["message_id"] for each in told["comments"]] == [message_id]
    exported = cloud.wordup("data", "export", file, "--from", "local")
    assert exported["kinds"]["u:turn"] >= 1
    done = cloud.wordup("data", "import", file, "--to", "local")
    assert (done["rows"], done["written"]) == (exported["rows"], 0)
