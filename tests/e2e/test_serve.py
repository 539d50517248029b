"""`wordup serve` as a process: what survives its restart, its killing and its mistakes."""

import asyncio
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.home import environment, serving, wordup
from tests.provider_server import ProviderServer, Reply
from tests.serving import Caller, parse_events
from wordup.stores.base import Put
from wordup.stores.sqlite import SQLiteStore

QUESTION = "What is AWS Lambda?"
FUNCTIONS = Path(__file__).parents[2] / "functions"


def provided(server: ProviderServer) -> dict[str, str]:
    return {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": server.url}


def conversations(caller: Caller) -> list[dict[str, Any]]:
    return caller.http.get("/v1/conversations").json()["conversations"]


def test_conversation_is_there_after_a_restart(tmp_path: Path):
    with serving(tmp_path) as home:
        key = home.first_key
        caller = Caller(home.url, key)
        asked = caller.ask(QUESTION).json()
        home.terminate()
    with serving(tmp_path) as home:
        caller = Caller(home.url, key)
        again = caller.ask("And on Azure?", conversation_id=asked["conversation_id"])
        kept = caller.http.get(f"/v1/conversations/{asked['conversation_id']}").json()["messages"]

    assert again.status_code == 200
    assert [message["content"] for message in kept[:2]] == [QUESTION, asked["message"]]
    assert len(kept) == 4


def test_first_key_is_made_once(tmp_path: Path):
    with serving(tmp_path) as first:
        key = first.first_key
    with serving(tmp_path) as second:
        assert "wu_" not in second.log
        assert Caller(second.url, key).http.get("/v1/me/usage").status_code == 200


def test_revoked_first_key_stays_revoked(tmp_path: Path):
    with serving(tmp_path) as home:
        key = home.first_key
        assert wordup(tmp_path, "user", "revoke", "owner").returncode == 0
    with serving(tmp_path) as home:
        refused = httpx2.post(f"{home.url}/v1/sessions", json={}, headers={"x-api-key": key})
        assert (refused.status_code, refused.json()["code"]) == (403, "wrong_access_key")
        assert "wu_" not in home.log


def test_answer_streams_as_the_provider_gives_it(tmp_path: Path):
    with (
        ProviderServer(Reply(deltas=("one ", "two ", "three"))) as provider,
        serving(tmp_path, **provided(provider)) as home,
    ):
        events = Caller(home.url, home.first_key).events(QUESTION)

    assert [name for name, _ in events] == ["start", "delta", "delta", "delta", "done"]
    assert events[-1][1]["message"] == "one two three"


def test_sigterm_lets_a_running_answer_finish(tmp_path: Path):
    slow = Reply(deltas=tuple(f"{n} " for n in range(10)), delay=0.1)
    with ProviderServer(slow) as provider:
        with serving(tmp_path, **provided(provider)) as home:
            key = home.first_key
            caller = Caller(home.url, key)
            with caller.http.stream("POST", "/chat", json={"message": QUESTION, "stream": True}) as response:
                events = parse_events(response.iter_text())
                seen = [next(events), next(events)]
                home.process.send_signal(signal.SIGTERM)
                seen += events
            home.process.wait(30)
        with serving(tmp_path, **provided(provider)) as home:
            [kept] = conversations(Caller(home.url, key))

    assert seen[-1][0] == "done"
    assert seen[-1][1]["message"] == "".join(slow.deltas)
    assert kept["turns"] == 1


def test_killed_turn_leaves_nothing_behind_and_the_next_one_is_answered(tmp_path: Path):
    with ProviderServer(Reply(delay=30)) as provider:
        with serving(tmp_path, **provided(provider)) as home:
            key = home.first_key
            caller = Caller(home.url, key)
            body = {"message": QUESTION, "stream": True}
            with caller.http.stream("POST", "/chat", json=body) as response:
                provider.wait_for(lambda server: len(server.calls) == 1)
                home.kill()
                with pytest.raises(httpx2.TransportError):
                    response.read()
        provider.answer = Reply()
        with serving(tmp_path, **provided(provider)) as home:
            caller = Caller(home.url, key)
            before = conversations(caller)
            answered = caller.ask(QUESTION)

    assert before == []
    assert answered.status_code == 200


def test_log_holds_no_key_no_token_and_no_message(tmp_path: Path):
    with serving(tmp_path, WORDUP_ACCESS_KEY="the-owner's-secret", WORDUP_LOG_LEVEL="DEBUG") as home:
        caller = Caller(home.url, "the-owner's-secret")
        asked = caller.ask(QUESTION).json()
        caller.http.get(f"/v1/conversations/{asked['conversation_id']}")
        token = caller.http.headers["authorization"].split()[1]
        home.terminate()
        lines = [json.loads(line) for line in home.log.splitlines() if line.startswith("{")]

    assert [line["route"] for line in lines if line["event"] == "request"] == [
        "/v1/sessions",
        "/chat",
        "/v1/conversations/{id}",
    ]
    for secret in ("the-owner's-secret", token, QUESTION, asked["message"], asked["conversation_id"]):
        assert secret not in home.log


def test_data_is_readable_by_its_owner_alone(tmp_path: Path):
    with serving(tmp_path):
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()}

    assert modes == dict.fromkeys(["signing.json", "wordup.db", "wordup.db-shm", "wordup.db-wal"], 0o600)


def test_expired_rows_are_removed_at_start(tmp_path: Path):
    async def leave() -> None:
        store = SQLiteStore(tmp_path / "data" / "wordup.db", clock=lambda: 0)
        await store.write("u:somebody", [Put(sk=f"turn:{n}", expires_at=1) for n in range(3)])
        await store.close()

    asyncio.run(leave())
    deadline = time.monotonic() + 20
    with serving(tmp_path), sqlite3.connect(tmp_path / "data" / "wordup.db") as database:
        while database.execute("SELECT count(*) FROM rows WHERE pk = 'u:somebody'").fetchone() != (0,):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_open_home_answers_without_a_key_but_not_under_another_name(tmp_path: Path):
    with serving(tmp_path, "--open") as home:
        answered = httpx2.post(f"{home.url}/chat", json={"message": QUESTION})
        rebound = httpx2.post(f"{home.url}/chat", json={"message": QUESTION}, headers={"host": "evil.example"})

    assert answered.status_code == 200
    assert rebound.status_code == 400


def test_home_serves_the_page(tmp_path: Path):
    with serving(tmp_path) as home:
        page = httpx2.get(home.url)

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("arguments", "variables", "told"),
    [
        (["--open", "--host=0.0.0.0"], {}, "0.0.0.0 is reached from others"),
        ([], {"WORDUP_DATA_DIR": "a-file/data"}, "a-file"),
        ([], {"WORDUP_STORRE": "sqlite"}, "WORDUP_STORRE is no setting"),
        ([], {"WORDUP_RETENTION_DAYS": "0"}, "WORDUP_RETENTION_DAYS"),
        (["--host=192.0.2.1"], {}, "192.0.2.1"),
    ],
    ids=["open to others", "no folder", "unknown setting", "setting out of range", "address of another machine"],
)
def test_home_that_cannot_start_says_why(arguments: list[str], variables: dict[str, str], told: str, tmp_path: Path):
    (tmp_path / "a-file").write_text("")
    done = wordup(tmp_path, "serve", "--port=0", *arguments, **variables)

    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert done.stderr.startswith("error: ")
    assert "mend: " in done.stderr
    assert "Traceback" not in done.stderr


def test_taken_port_is_explained(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = wordup(tmp_path, "serve", "--port", port)

    assert done.returncode == 1
    assert f"port {port}" in done.stderr


def test_keys_are_managed_where_only_the_server_is_installed(tmp_path: Path):
    def server(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, FUNCTIONS / "server.py", *arguments]
        return subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)

    made = server("--new-key", "anna")
    with serving(tmp_path) as home:
        signed_in = Caller(home.url, made.stdout.strip()).http.get("/v1/me/usage")
        revoked = server("--revoke", "anna")
        refused = httpx2.post(f"{home.url}/v1/sessions", json={}, headers={"x-api-key": made.stdout.strip()})

    assert signed_in.status_code == 200
    assert revoked.stderr == "1 of anna's keys revoked.\n"
    assert refused.status_code == 403
