"""Signing keys rotate without logging anyone out; secrets are read seldom."""

import json
import stat
from pathlib import Path

import pytest

from wordup.errors import SecretUnavailable
from wordup.keyring import (
    CACHE_SECONDS,
    REFETCH_SECONDS,
    RETIRED_SECONDS,
    KeyRing,
    Ring,
    SecretReader,
    new_ring,
    ring_file,
)
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
    clock.now += CACHE_SECONDS - 1
    await ring.signing_key()
    assert adapter.reads == 2
    clock.now += 1
    await ring.signing_key()
    assert adapter.reads == 3


async def test_secret_is_read_again_when_the_clock_was_set_back(tmp_path: Path) -> None:
    path, clock, adapter = tmp_path / "ring.json", Clock(), Counting()
    path.write_text(new_ring())
    ring = KeyRing(SecretReader({"file": adapter}, clock=clock), f"file:{path}")
    await ring.signing_key()
    clock.now -= 900
    await ring.signing_key()
    await ring.signing_key()
    assert adapter.reads == 2


def test_published_key_verifies_before_it_signs_and_the_old_one_after() -> None:
    ring = Ring.new()
    published = ring.published(1000)
    assert published.upcoming is not None
    assert (published.active, published.keys.keys()) == (ring.active, {ring.active, published.upcoming})
    assert published.signs_at() == 1000 + CACHE_SECONDS
    activated = published.activated(2000)
    assert (activated.active, activated.keys, activated.upcoming) == (published.upcoming, published.keys, None)


def test_key_stays_until_no_session_of_it_can_be_left() -> None:
    ring = Ring.new().published(0).activated(300)
    first = next(kid for kid in ring.keys if kid != ring.active)
    assert first in ring.published(300 + RETIRED_SECONDS).keys
    later = ring.published(301 + RETIRED_SECONDS)
    assert later.keys.keys() == {ring.active, later.upcoming}
    assert later.changed.keys() == {ring.active, later.upcoming}


def test_key_that_nobody_dated_is_kept() -> None:
    ring = Ring(active="a", keys={"a": "AAAA", "by hand": "BBBB"})
    assert "by hand" in ring.published(10**10).keys


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
