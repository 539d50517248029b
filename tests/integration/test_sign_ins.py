"""Who tries to sign in too often is refused by network address, which nobody can choose and nobody can read."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.home import serving
from tests.serving import KEY, served, settings

OPEN = "/v1/sessions"


def sign_in(url: str, key: str = KEY, **headers: str) -> int:
    return httpx2.post(url + OPEN, json={}, headers={"x-api-key": key, **headers}).status_code


def ask(url: str, key: str, **headers: str) -> int:
    return httpx2.get(f"{url}/v1/me/usage", headers={"authorization": f"Bearer {key}", **headers}).status_code


@pytest.mark.parametrize("attempt", [sign_in, ask])
def test_wrong_keys_are_refused_unread_after_so_many_a_minute(home: Path, attempt: Callable[..., int]) -> None:
    now = [1_000_020.0]
    with served(settings(home, sign_ins_per_minute=3), clock=lambda: now[0]) as url:
        assert [attempt(url, "wu_wrong") for _ in range(5)] == [403, 403, 403, 429, 429]
        assert attempt(url, KEY) == 429
        refused = httpx2.post(url + OPEN, json={}, headers={"x-api-key": KEY})
        assert refused.json()["code"] == "rate_limited"
        assert refused.headers["retry-after"] == "60"
        now[0] += 60
        assert attempt(url, KEY) in (200, 201)


def test_right_keys_are_not_counted_but_the_sessions_that_they_open_are(home: Path) -> None:
    with served(settings(home, sign_ins_per_minute=3), clock=lambda: 1_000_020.0) as url:
        assert [ask(url, KEY) for _ in range(5)] == [200] * 5
        assert [sign_in(url) for _ in range(4)] == [201, 201, 201, 429]


def test_forged_address_is_not_believed(home: Path) -> None:
    home.mkdir()
    with serving(home, WORDUP_SIGN_INS_PER_MINUTE="2", WORDUP_ACCESS_KEY=KEY) as bot:
        wait_for_room_in_the_minute()
        forged = [sign_in(bot.url, **{"x-forwarded-for": f"203.0.113.{n}"}) for n in range(4)]
        assert forged == [201, 201, 429, 429]


def test_trusted_proxy_tells_the_address_and_its_caller_cannot(home: Path) -> None:
    configured = settings(home, sign_ins_per_minute=1, trusted_proxies=2)
    with served(configured, clock=lambda: 1_000_020.0) as url:
        for forwarded, status in (
            ("203.0.113.1, 10.0.0.1", 201),
            ("198.51.100.9, 203.0.113.1, 10.0.0.1", 429),  # what its caller wrote before it
            ("203.0.113.1:50123, 10.0.0.1", 429),  # as Azure writes it
            ("203.0.113.2, 10.0.0.1", 201),
            ("2001:db8:1:2::1, 10.0.0.1", 201),
            ("2001:db8:1:2:ffff::1, 10.0.0.1", 429),  # another address of the same network
            ("[2001:db8:1:2::9]:443, 10.0.0.1", 429),
            ("2001:db8:1:3::1, 10.0.0.1", 201),
            ("::ffff:203.0.113.2, 10.0.0.1", 429),
            ("nonsense, 10.0.0.1", 201),  # the proxy's own
            ("10.0.0.1", 429),
        ):
            assert sign_in(url, **{"x-forwarded-for": forwarded}) == status, forwarded


def test_address_stands_nowhere_in_clear(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with served(settings(home, trusted_proxies=1)) as url:
        assert sign_in(url, **{"x-forwarded-for": "203.0.113.77"}) == 201
        [(pk,)] = sqlite3.connect(home / "wordup.db").execute("SELECT pk FROM rows WHERE pk LIKE 'ip:%'")
        stored = b"".join(path.read_bytes() for path in home.glob("wordup.db*"))
    written = capfd.readouterr()
    assert len(pk) == len("ip:") + 43
    assert b"203.0.113" not in stored
    assert "203.0.113" not in written.out + written.err


def wait_for_room_in_the_minute() -> None:
    """A process of its own has the machine's clock, and its counters begin anew with the minute."""
    if (left := 60 - time.time() % 60) < 10:
        time.sleep(left)
