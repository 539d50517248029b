"""`wordup secret` at home: keys change while people talk, and are seen nowhere."""

import json
import stat
from pathlib import Path

import httpx2
import pytest

from tests.home import WORDUP, environment, serving, wordup
from tests.provider_server import ProviderServer
from tests.rotating import as_if_later, asking, kid, past_the_guard
from tests.serving import Caller
from tests.terminal import Terminal

ROOMY = {"WORDUP_RATE_LIMIT_PER_MINUTE": "100000"}


def rotate(folder: Path) -> dict[str, str]:
    done = wordup(folder, "secret", "rotate", "--no-wait", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def taken(url: str, caller: Caller) -> int:
    """What another instance says to the caller's session."""
    return httpx2.get(f"{url}/v1/me/usage", headers={"authorization": caller.http.headers["authorization"]}).status_code


def test_rotation_logs_nobody_out(tmp_path: Path):
    ring = tmp_path / "data" / "signing.json"
    with serving(tmp_path, **ROOMY) as home:
        early = Caller(home.url, home.first_key)
        before = json.loads(ring.read_text())["active"]
        with asking(early) as statuses:
            published = rotate(tmp_path)
            assert (published["state"], rotate(tmp_path)) == ("published", published)
            ring.write_text(as_if_later(ring.read_text()))
            assert rotate(tmp_path)["state"] == "signing"
            past_the_guard()
            # Another instance, which has read the secret since; the first one still has the old ring in its cache.
            with serving(tmp_path, **ROOMY) as other:
                late = Caller(other.url, home.first_key)
                assert (kid(early), kid(late)) == (before, published["kid"])
                assert taken(other.url, early) == taken(other.url, late) == taken(home.url, late) == 200
                late.http.close()
        early.http.close()
    assert len(statuses) > 3
    assert set(statuses) == {200}
    assert stat.S_IMODE(ring.stat().st_mode) == 0o600


def test_ended_sessions_are_taken_by_no_new_instance(tmp_path: Path):
    with serving(tmp_path) as home:
        caller, key = Caller(home.url, home.first_key), home.first_key
    done = json.loads(wordup(tmp_path, "secret", "rotate", "--end-sessions", "--json").stdout)
    assert done["removed"] == [kid(caller)]
    with serving(tmp_path) as home:
        assert taken(home.url, caller) == 401
        Caller(home.url, key).http.close()
    caller.http.close()


def test_key_from_standard_input_reaches_the_provider_and_nobody_else(tmp_path: Path):
    kept = {"WORDUP_PROVIDER_KEY_REF": f"file:{tmp_path / 'secrets.json'}#openai", "WORDUP_PROVIDER": "openai"}
    done = wordup(tmp_path, "secret", "set", "provider_key", "--json", given="sk-by-hand\n", **kept)
    assert json.loads(done.stdout) == {"secret": "provider_key", "used_within_seconds": 300}
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    with ProviderServer() as provider, serving(tmp_path, OPENAI_BASE_URL=provider.url, **kept) as home:
        caller = Caller(home.url, home.first_key)
        assert caller.ask("What is AWS Lambda?").status_code == 200
        caller.http.close()
        assert [call.headers["authorization"] for call in provider.calls] == ["Bearer sk-by-hand"]
        assert "sk-by-hand" not in home.log + done.stdout + done.stderr


def test_key_from_a_file_leaves_the_other_secrets_alone(tmp_path: Path):
    (tmp_path / "secrets.json").write_text('{"other":{"a":1}}')
    (tmp_path / "key").write_text("sk-from-file\n")
    reference = {"WORDUP_PROVIDER_KEY_REF": "file:secrets.json#openai"}
    assert wordup(tmp_path, "secret", "set", "provider_key", "--from-file=key", **reference).returncode == 0
    assert json.loads((tmp_path / "secrets.json").read_text()) == {"other": {"a": 1}, "openai": "sk-from-file"}


def test_prompt_on_a_terminal_does_not_show_the_key(tmp_path: Path):
    variables = environment(tmp_path, WORDUP_PROVIDER_KEY_REF="file:key")
    with Terminal([WORDUP, "secret", "set", "provider_key"], tmp_path, variables) as terminal:
        terminal.see("The key:")
        terminal.type("sk-typed\n")
        assert terminal.ended() == 0
        assert "sk-typed" not in terminal.seen
    assert (tmp_path / "key").read_text() == "sk-typed"


@pytest.mark.parametrize(
    "given", ["", " \n", "two words", "sk-\u00e4", "x" * 9000], ids=["none", "blank", "two", "ä", "9000"]
)
def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path, given: str):
    done = wordup(tmp_path, "secret", "set", "provider_key", given=given, WORDUP_PROVIDER_KEY_REF="file:key")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: That is no key" in done.stderr
    assert "words" not in done.stderr.replace("more than one word", "")
    assert not (tmp_path / "key").exists()


@pytest.mark.parametrize("reference", ["", "aws:wordup#provider_key", "file:/proc/nowhere/key"])
def test_home_that_keeps_its_key_elsewhere_says_where(tmp_path: Path, reference: str):
    variables = {"WORDUP_PROVIDER_KEY_REF": reference} if reference else {}
    done = wordup(tmp_path, "secret", "set", "provider_key", given="sk-x", **variables)
    assert (done.returncode, done.stdout) == (1, "")
    assert "WORDUP_PROVIDER_KEY_REF" in done.stderr
