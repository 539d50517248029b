"""What `wordup doctor --to aws` asks of an account, here the embedded cloud in an account's place."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from typer.testing import CliRunner

from cli.main import app
from infra.aws import cdk
from infra.checks import Check
from infra.doctor import examine
from infra.local import ministack
from infra.spec import parse

PRODUCTION = {"profile": "production", "aws": {"alarm_email": "operator@example.com"}}


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ministack.MiniStack]:
    with ministack.started(tmp_path_factory.mktemp("account")) as running:
        yield running


@pytest.fixture(autouse=True)
def credentials(account: ministack.MiniStack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in account.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def client(account: ministack.MiniStack) -> Iterator[Callable[[str], Any]]:
    opened: list[Any] = []

    def of(service: str) -> Any:
        made: Any = botocore.session.Session().create_client(service, endpoint_url=account.url)
        opened.append(made)
        return made

    yield of
    for each in opened:
        each.close()


def told(document: dict[str, Any]) -> dict[str, Check]:
    found = {check.name: check for check in examine("aws", parse(document))}
    assert all(bool(check.mend) != check.ok for check in found.values()), found
    return found


def merged(document: dict[str, Any], **aws: Any) -> dict[str, Any]:
    return {**document, "aws": {**document.get("aws", {}), **aws}}


@pytest.mark.parametrize("document", [{}, PRODUCTION])
def test_account_in_order_passes_every_check(document: dict[str, Any]):
    found = told({**document, "name": "free-name"})
    assert [check for check in found.values() if not check.ok] == []
    assert {"settings", "model", "CDK", "region", "credentials", "concurrency", "names"} <= set(found)
    assert found["names"].found == "free-name is free"


def test_table_of_somebody_else_is_a_collision(client: Callable[[str], Any]):
    client("dynamodb").create_table(
        TableName="taken",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    found = told({"name": "taken"})["names"]
    assert not found.ok
    assert "table taken" in found.found
    assert "--name" in found.mend


def test_secret_that_waits_for_its_deletion_is_a_collision(client: Callable[[str], Any]):
    client("secretsmanager").create_secret(Name="waiting", SecretString="{}")
    client("secretsmanager").delete_secret(SecretId="waiting")
    found = told({"name": "waiting"})["names"]
    assert not found.ok
    assert "delete-secret --secret-id waiting" in found.mend


def test_more_concurrency_than_the_account_has_is_refused():
    found = told(merged(PRODUCTION, reserved_concurrency=950))["concurrency"]
    assert not found.ok
    assert "reserved_concurrency" in found.mend


def test_provider_without_its_key_is_told(client: Callable[[str], Any]):
    document: dict[str, Any] = {"name": "keyed", "bot": {"provider": "openai"}}
    assert told(document)["provider's key"].ok  # there is no secret yet
    secrets = client("secretsmanager")
    secrets.create_secret(Name="keyed", SecretString='{"provider_key": ""}')
    assert not told(document)["provider's key"].ok
    secrets.put_secret_value(SecretId="keyed", SecretString='{"provider_key": "sk-test"}')
    assert told(document)["provider's key"].ok


def test_model_near_its_end_is_told():
    """It ends on 2027-01-14; after that day it is refused with its successor."""
    found = told({"bot": {"provider": "openai", "model": "openai:gpt-4o"}})["model"]
    assert not found.ok
    assert "gpt-4o" in found.found


def test_region_that_aws_has_not_is_told_before_anything_is_asked():
    found = told({"aws": {"region": "eu-central-9"}})
    assert "eu-central-1" in found["region"].mend
    assert "credentials" not in found


def test_settings_that_do_not_fit_are_told():
    found = told({"profile": "production"})["settings"]
    assert (found.ok, "alarm_email" in found.mend) == (False, True)


def test_certificate_of_another_name_is_told(client: Callable[[str], Any]):
    arn = client("acm").request_certificate(DomainName="other.example.com")["CertificateArn"]
    found = told({"aws": {"domain": "bot.example.com", "certificate_arn": arn}})["certificate"]
    assert not found.ok
    arn = client("acm").request_certificate(DomainName="*.example.com")["CertificateArn"]
    assert told({"aws": {"domain": "bot.example.com", "certificate_arn": arn}})["certificate"].ok


def test_without_credentials_the_account_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    found = told({})
    assert "aws configure" in found["credentials"].mend
    assert "names" not in found


def test_cdk_that_is_not_the_locked_one_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "package.json").write_text('{"dependencies": {"aws-cdk": "2.1148.1"}}')
    monkeypatch.setattr(cdk, "ROOT", tmp_path)  # a checkout without node_modules
    found = told({})["CDK"]
    assert (found.ok, found.mend) == (False, "Run `make setup`.")


def test_doctor_exits_with_1_where_something_is_missing(monkeypatch: pytest.MonkeyPatch):
    assert CliRunner().invoke(app, ["doctor", "--to", "aws", "--name", "free-name"]).exit_code == 0
    refused = CliRunner().invoke(app, ["doctor", "--to", "aws", "--name", "free-name", "--profile", "production"])
    assert refused.exit_code == 1
    assert "alarm_email" in refused.stdout
