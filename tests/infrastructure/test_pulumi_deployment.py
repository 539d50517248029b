"""The two targets: what they read, what they write beside Pulumi, and what they remove. See vendor_tools.py."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.keyvault.secrets import SecretClient
from google.cloud.secretmanager import SecretManagerServiceClient
from google.cloud.secretmanager_v1 import types
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

from infra.azure import names
from infra.azure import secret as azure_secret
from infra.azure.deployment import POLL_SECONDS, POLLS, until_granted
from infra.errors import DeploymentError
from infra.gcp import secret as gcp_secret
from infra.spec import environment
from infra.targets import Kept, open_target
from tests import key_vault
from tests.infrastructure.plans import one, plan, spec
from tests.infrastructure.test_pulumi_stack import Heard, state
from tests.infrastructure.vendor_tools import Tools

OUTPUTS = {"function": "wordup", "rows_url": "https://rows.table.core.windows.net/", "url": "https://bot.example"}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    tools = Tools(tmp_path, monkeypatch)
    tools.answer("pulumi", "^stack ls", [{"name": "wordup-gcp"}, {"name": "wordup-azure"}])
    tools.answer("pulumi", "^stack output", OUTPUTS)
    tools.answer("pulumi", "^(stack select|config set-all|destroy|stack rm)")
    tools.answer("az", "^account show", {"user": {"type": "user"}})
    return tools


@pytest.mark.parametrize("cloud", ["gcp", "azure"])
def test_outputs_begin_with_the_url(tools: Tools, cloud: str) -> None:
    found = open_target(cloud, spec(cloud)).outputs()

    assert next(iter(found)) == "url"
    assert found == OUTPUTS


@pytest.mark.parametrize("cloud", ["gcp", "azure"])
def test_plan_is_the_offline_one_with_every_resource(cloud: str) -> None:
    heard = Heard()
    planned = open_target(cloud, spec(cloud)).plan(heard, offline=True)

    assert heard.steps[-1] == "Running the program"
    assert {resource.name for resource in planned} == {r.name for r in plan(cloud, public=False).resources}


def test_secret_is_referred_to_as_the_function_refers_to_it() -> None:
    settings = one(plan("azure"), "function").inputs["siteConfig"]["appSettings"]
    signing = next(setting["value"] for setting in settings if setting["name"] == "WORDUP_SIGNING_KEY_REF")

    assert open_target("azure", spec("azure")).secret_reference("signing") == signing
    assert (
        open_target("gcp", spec("gcp")).secret_reference("signing")
        == (environment(spec("gcp"), "gcp")["WORDUP_SIGNING_KEY_REF"])
    )


def test_operator_uses_the_deployed_database(tools: Tools) -> None:
    with open_target("gcp", spec("gcp")).connected() as gcp, open_target("azure", spec("azure")).connected() as azure:
        assert (gcp.store, gcp.table, gcp.store_endpoint) == ("firestore", "wordup", "word-up-demo")
        assert (azure.store, azure.table, azure.store_endpoint) == ("azure_tables", "wordup", OUTPUTS["rows_url"])


def test_operator_s_identity_lets_them_in_where_google_cloud_s_bot_is_not_public(tools: Tools) -> None:
    tools.answer("gcloud", "^auth print-identity-token$", "of-the-operator\n")

    assert open_target("gcp", spec("gcp")).admission() == {"X-Serverless-Authorization": "Bearer of-the-operator"}
    assert open_target("gcp", spec("gcp", gcp={"public": True})).admission() == {}
    assert len(tools.asked("print-identity-token")) == 1


def test_log_bucket_that_google_cloud_keeps_is_told(tools: Tools) -> None:
    logs = {"urn": "urn:pulumi:wordup-gcp::wordup::gcp:logging/projectBucketConfig:ProjectBucketConfig::logs"}
    tools.answer("pulumi", "^stack export", state(logs), times=1)
    tools.answer("pulumi", "^stack export", state())
    removal = open_target("gcp", spec("gcp")).destroy(Heard(), delete_data=False)

    assert removal.removed == []
    assert removal.kept == [Kept("log bucket wordup", "holds the log lines until they are 30 days old")]


@pytest.mark.parametrize("protected", [True, False])
def test_removed_vault_is_purged_where_azure_lets_us(tools: Tools, protected: bool) -> None:
    name = names.vault(spec("azure"))
    vault = {"urn": "urn:pulumi:wordup-azure::wordup::azure-native:keyvault:Vault::vault"}
    tools.answer("pulumi", "^stack export", state(vault), times=1)
    tools.answer("pulumi", "^stack export", state())
    deleted = {"purgeProtectionEnabled": protected or None, "scheduledPurgeDate": "2027-02-19T00:00:00+00:00"}
    tools.answer("az", "^keyvault show-deleted", {"name": name, "properties": deleted})
    tools.answer("az", "^keyvault purge")
    removal = open_target("azure", spec("azure")).destroy(Heard(), delete_data=False)

    assert bool(tools.asked("purge", name)) != protected
    assert [kept.name for kept in removal.kept] == ([f"deleted key vault {name}"] if protected else [])


def test_role_that_was_just_granted_is_waited_for() -> None:
    waits: list[float] = []
    answers = iter([forbidden(), forbidden(), None])

    def call() -> None:
        if error := next(answers):
            raise error

    until_granted(call, wait=waits.append)
    assert waits == [POLL_SECONDS] * 2


def test_role_that_never_comes_and_any_other_refusal_are_told() -> None:
    waits: list[float] = []

    def call(error: HttpResponseError) -> None:
        raise error

    with pytest.raises(DeploymentError, match="Azure refused"):
        until_granted(lambda: call(forbidden()), wait=waits.append)
    assert len(waits) == POLLS
    with pytest.raises(DeploymentError, match="Azure refused"):
        until_granted(lambda: call(forbidden(status=404)), wait=waits.append)
    assert len(waits) == POLLS


def forbidden(status: int = 403) -> HttpResponseError:
    error = HttpResponseError("no")
    error.status_code = status
    return error


class SecretManager(grpc.GenericRpcHandler):
    """Secret Manager's calls over gRPC; `refuses` is the status of every answer."""

    def __init__(self) -> None:
        self.versions: list[bytes] = []
        self.disabled: set[str] = set()
        self.refuses: grpc.StatusCode | None = None

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method.rpartition("/")[2]
        if method == "AddSecretVersion":
            return _unary(self._add, types.AddSecretVersionRequest, types.SecretVersion)
        if method == "ListSecretVersions":
            return _unary(self._list, types.ListSecretVersionsRequest, types.ListSecretVersionsResponse)
        if method == "DisableSecretVersion":
            return _unary(self._disable, types.DisableSecretVersionRequest, types.SecretVersion)
        assert method == "AccessSecretVersion"
        return _unary(self._access, types.AccessSecretVersionRequest, types.AccessSecretVersionResponse)

    def _add(self, request: types.AddSecretVersionRequest, context: grpc.ServicerContext) -> types.SecretVersion:
        if self.refuses:
            context.abort(self.refuses, "no")
        self.versions.append(request.payload.data)
        return types.SecretVersion(name=f"{request.parent}/versions/{len(self.versions)}")

    def _list(self, request: types.ListSecretVersionsRequest, _: grpc.ServicerContext) -> Any:
        assert request.filter == "state:ENABLED"
        names = [f"{request.parent}/versions/{number}" for number in range(len(self.versions), 0, -1)]
        enabled = [types.SecretVersion(name=name) for name in names if name not in self.disabled]
        return types.ListSecretVersionsResponse(versions=enabled)

    def _disable(self, request: types.DisableSecretVersionRequest, _: grpc.ServicerContext) -> types.SecretVersion:
        self.disabled.add(request.name)
        return types.SecretVersion(name=request.name)

    def _access(self, request: types.AccessSecretVersionRequest, context: grpc.ServicerContext) -> Any:
        assert request.name == "projects/p/secrets/wordup/versions/latest"
        if self.refuses or not self.versions:
            context.abort(self.refuses or grpc.StatusCode.NOT_FOUND, "no")
        return types.AccessSecretVersionResponse(name=request.name, payload={"data": self.versions[-1]})


def _unary(answer: Any, request: Any, response: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(answer, request.deserialize, response.serialize)


@pytest.fixture
def secret_manager() -> Generator[tuple[SecretManager, SecretManagerServiceClient]]:
    manager = SecretManager()
    server = grpc.server(ThreadPoolExecutor(2), [manager])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with grpc.insecure_channel(address) as channel:
        yield manager, SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))
    server.stop(None).wait()


def test_secret_manager_gives_back_what_was_put(
    secret_manager: tuple[SecretManager, SecretManagerServiceClient],
) -> None:
    _, client = secret_manager
    name = "projects/p/secrets/wordup"

    assert gcp_secret.read(client, name) == {}
    gcp_secret.write(client, name, {"signing": {"active": "a"}, "provider_key": "schlüssel"})
    assert gcp_secret.read(client, name) == {"signing": {"active": "a"}, "provider_key": "schlüssel"}


def test_versions_before_the_newest_are_disabled_on_google_cloud(
    secret_manager: tuple[SecretManager, SecretManagerServiceClient],
) -> None:
    manager, client = secret_manager
    name = "projects/p/secrets/wordup"
    for number in range(3):
        gcp_secret.write(client, name, {"number": number})
    assert manager.disabled == {f"{name}/versions/1", f"{name}/versions/2"}
    assert gcp_secret.read(client, name) == {"number": 2}


def test_secret_manager_s_refusal_is_told(secret_manager: tuple[SecretManager, SecretManagerServiceClient]) -> None:
    manager, client = secret_manager
    manager.refuses = grpc.StatusCode.PERMISSION_DENIED

    with pytest.raises(DeploymentError, match="Google Cloud refused"):
        gcp_secret.read(client, "projects/p/secrets/wordup")
    with pytest.raises(DeploymentError, match="Google Cloud refused"):
        gcp_secret.write(client, "projects/p/secrets/wordup", {})


class Identity:
    """The operator's, as far as Key Vault asks for it."""

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken(key_vault.TOKEN, 2**33)


def test_key_vault_gives_back_what_was_put(tmp_path: Path) -> None:
    certificate = key_vault.certificate(tmp_path)
    with key_vault.started(certificate) as vault:
        # A vault's challenge must name Azure's domain; this one is on this machine.
        options: dict[str, Any] = {"connection_verify": str(certificate), "verify_challenge_resource": False}
        with SecretClient(vault.url, Identity(), **options) as client:
            assert azure_secret.read(client, "wordup") == {}
            azure_secret.write(client, "wordup", {"signing": {"active": "a"}, "provider_key": "schlüssel"})
            assert azure_secret.read(client, "wordup") == {"signing": {"active": "a"}, "provider_key": "schlüssel"}


def test_versions_before_the_newest_are_disabled_on_azure(tmp_path: Path) -> None:
    certificate = key_vault.certificate(tmp_path)
    with key_vault.started(certificate) as vault:
        options: dict[str, Any] = {"connection_verify": str(certificate), "verify_challenge_resource": False}
        with SecretClient(vault.url, Identity(), **options) as client:
            for number in range(3):
                azure_secret.write(client, "wordup", {"number": number})
            assert [each["attributes"]["enabled"] for each in vault.versions["/secrets/wordup"]] == [False, False, True]
            assert azure_secret.read(client, "wordup") == {"number": 2}
