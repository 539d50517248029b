"""A rotation through each cloud's secret store: as the operator writes it, as running instances read it."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from azure.keyvault.secrets import SecretClient
from google.cloud.secretmanager import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

from cli.rotation import Rotated, end_sessions, rotate
from cli.secret import DeployedSecret
from infra.aws.deployment import AWSDeployment
from infra.aws.place import Account
from infra.azure import secret as azure_secret
from infra.gcp import secret as gcp_secret
from infra.spec import DeploymentSpec
from tests import key_vault
from tests.emulators import AWS_ENVIRONMENT, moto_server
from tests.infrastructure.test_pulumi_deployment import Identity as Operator
from tests.infrastructure.test_pulumi_deployment import SecretManager
from tests.infrastructure.test_pulumi_stack import Heard
from tests.integration.test_azure_secrets import Identity
from wordup.errors import Conflict, SecretUnavailable
from wordup.keyring import CACHE_SECONDS, REFETCH_SECONDS, KeyRing, Ring, SecretReader
from wordup.secrets.aws import AWSSecrets
from wordup.secrets.azure import AzureSecrets
from wordup.secrets.base import Secrets
from wordup.secrets.gcp import GCPSecrets


class Clock:
    """`sleep` takes no time, but moves it on."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Cloud:
    """`target` has a deployment's read_secret and write_secret; `secrets` and `name` are how its function reads it."""

    target: Any
    secrets: Secrets
    name: str


class MotoAccount(Account):
    def __init__(self, url: str) -> None:
        super().__init__(DeploymentSpec())
        self._url = url

    def environment(self) -> dict[str, str]:
        return {**AWS_ENVIRONMENT, "AWS_REGION": AWS_ENVIRONMENT["AWS_DEFAULT_REGION"], "AWS_ENDPOINT_URL": self._url}


@contextmanager
def aws(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with moto_server(folder) as url:
        for name, value in AWS_ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        target = AWSDeployment(DeploymentSpec(name="rotating"), MotoAccount(url))
        client = target.client("secretsmanager")
        client.create_secret(Name="rotating")
        yield Cloud(target, AWSSecrets(url), "rotating")
        client.delete_secret(SecretId="rotating", ForceDeleteWithoutRecovery=True)  # moto keeps it for this process
        client.close()


@dataclass
class Written:
    """A deployment's two calls, over its cloud's own."""

    read_secret: Callable[[], dict[str, Any]]
    write_secret: Callable[[Mapping[str, Any]], None]


@contextmanager
def gcp(_: Path, __: pytest.MonkeyPatch) -> Iterator[Cloud]:
    server, name = grpc.server(ThreadPoolExecutor(2), [SecretManager()]), "projects/p/secrets/wordup"
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with grpc.insecure_channel(address) as channel:
        client = SecretManagerServiceClient(transport=SecretManagerServiceGrpcTransport(channel=channel))
        target = Written(lambda: gcp_secret.read(client, name), lambda value: gcp_secret.write(client, name, value))
        yield Cloud(target, GCPSecrets(address), name)
    server.stop(None).wait()


@contextmanager
def azure(folder: Path, _: pytest.MonkeyPatch) -> Iterator[Cloud]:
    certificate = key_vault.certificate(folder)
    # A vault's challenge must name Azure's domain; this one is on this machine.
    options: dict[str, Any] = {"connection_verify": str(certificate), "verify_challenge_resource": False}
    with (
        key_vault.started(certificate) as vault,
        SecretClient(vault.url, Operator(), **options) as client,
    ):
        target = Written(
            lambda: azure_secret.read(client, "wordup"), lambda value: azure_secret.write(client, "wordup", value)
        )
        yield Cloud(target, AzureSecrets(Identity(), **options), f"{vault.url}/secrets/wordup")


CLOUDS: dict[str, Callable[[Path, pytest.MonkeyPatch], AbstractContextManager[Cloud]]] = {
    "aws": aws,
    "gcp": gcp,
    "azure": azure,
}


@pytest.fixture(params=CLOUDS)
def cloud(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with CLOUDS[request.param](tmp_path, monkeypatch) as cloud:
        yield cloud


def instance(cloud: Cloud, clock: Clock) -> KeyRing:
    """A function's ring, with the cache of its process."""
    return KeyRing(SecretReader({"cloud": cloud.secrets}, clock=clock), f"cloud:{cloud.name}#signing")


async def test_what_any_instance_signed_every_instance_verifies(cloud: Cloud) -> None:
    clock, kept = Clock(), DeployedSecret(cloud.target, "signing")
    cloud.target.write_secret({"signing": json.loads(text(Ring.new())), "provider_key": "sk"})
    old = instance(cloud, clock)
    before, key = await old.signing_key()

    def run(*, wait: bool) -> Rotated:
        return rotate(kept, Heard(), wait=wait, clock=clock, sleep=clock.sleep)

    clock.now += REFETCH_SECONDS
    published = run(wait=False)
    fresh = instance(cloud, clock)
    assert (await fresh.signing_key())[0] == before
    assert await old.verifying_key(published.kid) == await fresh.verifying_key(published.kid) is not None
    assert run(wait=True).state == "signing"
    assert clock.now == pytest.approx(1_800_000_000 + REFETCH_SECONDS + CACHE_SECONDS, abs=1)
    fresh = instance(cloud, clock)
    assert (await fresh.signing_key())[0] == (await old.signing_key())[0] == published.kid
    assert await fresh.verifying_key(before) == key
    assert cloud.target.read_secret()["provider_key"] == "sk"


async def test_instance_that_read_just_before_takes_the_new_keys_tokens(cloud: Cloud) -> None:
    clock, kept = Clock(), DeployedSecret(cloud.target, "signing")
    kept.write(text(Ring.new()))
    rotate(kept, Heard(), wait=False, clock=clock)
    clock.now += CACHE_SECONDS - 1
    stale = instance(cloud, clock)
    before, _ = await stale.signing_key()
    done = rotate(kept, Heard(), wait=True, clock=clock, sleep=clock.sleep)
    assert (await stale.signing_key())[0] == before
    assert await stale.verifying_key(done.kid) == (await instance(cloud, clock).signing_key())[1]


async def test_provider_key_is_used_when_the_cache_is_over(cloud: Cloud) -> None:
    clock = Clock()
    cloud.target.write_secret({"provider_key": "first"})
    reader = SecretReader({"cloud": cloud.secrets}, clock=clock)
    assert await reader.read(f"cloud:{cloud.name}#provider_key") == "first"
    DeployedSecret(cloud.target, "provider_key").write("second")
    assert await reader.read(f"cloud:{cloud.name}#provider_key") == "first"
    clock.now += CACHE_SECONDS
    assert await reader.read(f"cloud:{cloud.name}#provider_key") == "second"


class Held:
    """A secret in this process."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self) -> str:
        return self.text

    def write(self, text: str) -> None:
        self.text = text


def text(ring: Ring) -> str:
    return json.dumps({"active": ring.active, "keys": ring.keys})


def test_rotation_that_was_cut_short_goes_on() -> None:
    clock, held = Clock(), Held(text(Ring.new()))

    def killed(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotate(held, Heard(), wait=True, clock=clock, sleep=killed)
    published = held.text
    clock.now += CACHE_SECONDS
    done = rotate(held, Heard(), wait=False, clock=clock)
    assert done.kid == json.loads(published)["upcoming"] == json.loads(held.text)["active"]


def test_two_rotations_at_once_do_not_sign_with_what_nobody_knows() -> None:
    clock, held = Clock(), Held(text(Ring.new()))

    def other(seconds: float) -> None:
        clock.sleep(seconds)
        held.text = text(Ring.new())

    with pytest.raises(Conflict):
        rotate(held, Heard(), wait=True, clock=clock, sleep=other)


def test_ending_all_sessions_leaves_one_new_key() -> None:
    ring = Ring.new().published(0)
    held = Held(text(ring))
    done = end_sessions(held, Heard())
    assert json.loads(held.text)["keys"].keys() == {done.kid}
    assert done.removed == sorted(ring.keys)


@pytest.mark.parametrize("held", ["", "{}", "no ring"])
def test_rotation_of_nothing_is_explained(held: str) -> None:
    with pytest.raises(SecretUnavailable, match="no signing keys"):
        rotate(Held(held), Heard(), wait=False)
