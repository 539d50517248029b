"""Signing keys rotate without logging anyone out; secrets are read seldom."""

import json
import stat
from pathlib import Path

import pytest

from wordup.errors import SecretUnavailable
from wordup.keyring import CACHE_SECONDS, REFETCH_SECONDS, KeyRing, SecretReader, new_ring, ring_file
from wordup.secrets.file import FileSecrets


class Counting(FileSecrets):
    reads = 0

    async def read(self, name: str) -> str:
        self.reads += 1
        return await super().read(name)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_rotation_is_seen_through_an_unknown_kid(tmp_path: Path) -> None:
    path, clock, adapter = tmp_path / "ring.json", Clock(), Counting()
    path.write_text(new_ring())
    ring = KeyRing(SecretReader({"file": adapter}, clock=clock), f"file:{path}")
    old, key = await ring.signing_key()
    both = json.loads(path.read_text())
    both["keys"]["next"] = "AAAA"
    path.write_text(json.dumps(both))
    clock.now += REFETCH_SECONDS
    assert await ring.verifying_key("next") == b"\0\0\0"  # published, not yet signing
    assert (await ring.signing_key())[0] == old
    both["active"] = "next"
    path.write_text(json.dumps(both))
    clock.now += CACHE_SECONDS
    assert (await ring.signing_key())[0] == "next"
    assert await ring.verifying_key(old) == key


async def test_secret_is_read_once_in_five_minutes_and_forged_kids_do_not_flood(tmp_path: Path) -> None:
    path, clock, adapter = tmp_path / "ring.json", Clock(), Counting()
    path.write_text(new_ring())
    ring = KeyRing(SecretReader({"file": adapter}, clock=clock), f"file:{path}")
    for _ in range(50):
        await ring.signing_key()
        assert await ring.verifying_key("forged") is None
    assert adapter.reads == 1
    clock.now += REFETCH_SECONDS
    assert await ring.verifying_key("forged") is None
    assert adapter.reads == 2


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"active": "a", "keys": {}}', '{"active": "a", "keys": {"b": "AAAA"}}']
)
async def test_broken_ring_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ring.json"
    path.write_text(text)
    with pytest.raises(SecretUnavailable):
        await KeyRing(SecretReader({"file": FileSecrets()}), f"file:{path}").signing_key()


async def test_field_of_a_secret_and_its_absence(tmp_path: Path) -> None:
    path = tmp_path / "secret.json"
    path.write_text('{"provider_key": "sk", "signing": {"active": "a"}}')
    reader = SecretReader({"file": FileSecrets()})
    assert await reader.read(f"file:{path}#provider_key") == "sk"
    assert await reader.read(f"file:{path}#signing") == '{"active":"a"}'
    for bad in (f"file:{path}#nothing", f"file:{tmp_path}/absent", "vault:x"):
        with pytest.raises(SecretUnavailable):
            await reader.read(bad)


def test_ring_file_is_the_owners_alone_and_stays(tmp_path: Path) -> None:
    path = ring_file(tmp_path / "home" / "signing.json")
    first = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ring_file(path).read_text() == first
    assert [each.name for each in path.parent.iterdir()] == ["signing.json"]
