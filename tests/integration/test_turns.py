"""The chat turn against a provider on a real socket: once, whole, or reported as failed."""

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.provider_server import ProviderServer, Reply
from tests.serving import Caller, parse_events, served, settings

PRICES = "openai:stand-in=1/2"


def openai(home: Path, provider: ProviderServer, **fields: Any) -> Any:
    known = {"provider": "openai", "model": "openai:stand-in", "model_prices": PRICES, "openai_base_url": provider.url}
    return settings(home, **{**known, **fields})


def usage(caller: Caller) -> dict[str, Any]:
    return caller.http.get("/v1/me/usage").json()


def test_model_sees_the_newest_turns_in_order_within_the_budget(home: Path) -> None:
    with ProviderServer() as provider, served(openai(home, provider, history_tokens=400)) as url:
        caller = Caller(url)
        conversation = caller.ask("question 0 " + "x" * 300).json()["conversation_id"]
        for n in range(1, 13):
            caller.ask(f"question {n} " + "x" * 300, conversation_id=conversation)
        sent = [m["content"][:11].rstrip() for m in provider.calls[-1].body["messages"] if m["role"] == "user"]
        assert sent == [f"question {n}" for n in (8, 9, 10, 11, 12)]


def test_retried_key_gives_the_stored_turn_without_a_second_call(home: Path) -> None:
    with ProviderServer() as provider, served(openai(home, provider)) as url:
        caller = Caller(url)
        first = caller.ask("hello", key="a").json()
        again = caller.ask("hello", key="a").json()
        streamed = caller.http.post(
            "/chat", json={"message": "hello", "stream": True}, headers={"idempotency-key": "a"}
        )
        assert again == first
        assert list(parse_events(iter([streamed.text])))[-1] == ("done", first)
        assert len(provider.calls) == 1
        assert usage(caller)["today"]["requests"] == 1
        assert caller.ask("other", key="a").json()["code"] == "idempotency_mismatch"
        assert caller.ask("hello", key="b").json()["message_id"] != first["message_id"]


def test_running_twin_is_refused_and_one_call_made(home: Path) -> None:
    with ProviderServer(Reply(delay=0.3)) as provider, served(openai(home, provider)) as url:
        callers = [Caller(url) for _ in range(5)]
        with ThreadPoolExecutor(5) as threads:
            answers = list(threads.map(lambda caller: caller.ask("hello", key="a"), callers))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
        assert {int(a.headers["retry-after"]) > 0 for a in answers if a.status_code == 409} == {True}
        assert len(provider.calls) == 1


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (Reply(status=401), 502, "provider_error"),
        (Reply(status=400), 502, "provider_error"),
        (Reply(status=429, headers={"retry-after": "60"}), 503, "provider_busy"),
        (Reply(stop_after=1), 502, "provider_error"),
        (Reply(cut_after=1), 502, "provider_error"),
        (Reply(delay=3), 504, "provider_timeout"),
    ],
)
def test_failed_provider_records_nothing_and_gives_back(home: Path, reply: Reply, status: int, code: str) -> None:
    with ProviderServer(reply) as provider, served(openai(home, provider, provider_timeout_seconds=2)) as url:
        caller = Caller(url)
        failed = caller.ask("hello", key="a")
        assert (failed.status_code, failed.json()["code"]) == (status, code)
        assert "scripted" not in failed.text  # the provider's words are not the caller's business
        assert caller.http.get("/v1/conversations").json()["conversations"] == []
        assert usage(caller)["reserved_usd"] == "0"
        provider.script(Reply())
        assert caller.ask("hello", key="a").status_code == 200


def test_error_after_the_first_delta_is_an_event_and_records_nothing(home: Path) -> None:
    with ProviderServer(Reply(cut_after=2)) as provider, served(openai(home, provider)) as url:
        caller = Caller(url)
        events = caller.events("hello")
        assert [name for name, _ in events] == ["start", "delta", "delta", "error"]
        assert events[-1][1]["code"] == "provider_error"
        assert caller.http.get("/v1/conversations").json()["conversations"] == []
        spent = usage(caller)
        assert spent["reserved_usd"] == "0"
        assert float(spent["today"]["cost_usd"]) > 0  # the provider bills what it sent


def test_caller_who_leaves_a_stream_ends_the_call_and_keeps_what_came(home: Path) -> None:
    reply = Reply(endless=True, delay=0.02)
    with ProviderServer(reply) as provider, served(openai(home, provider)) as url:
        caller = Caller(url)
        with caller.http.stream("POST", "/chat", json={"message": "hello", "stream": True}) as response:
            for name, _ in parse_events(response.iter_text()):
                if name == "delta":
                    break
        provider.wait_for(lambda server: server.disconnects == 1)
        _until(lambda: usage(caller)["reserved_usd"] == "0")
        [listed] = caller.http.get("/v1/conversations").json()["conversations"]
        kept = caller.http.get(f"/v1/conversations/{listed['id']}").json()["messages"][-1]
        assert kept["finish_reason"] == "stopped"
        assert kept["content"].startswith("A stand-in")


def test_caller_who_leaves_a_buffered_answer_ends_the_call(home: Path) -> None:
    with ProviderServer(Reply(endless=True, delay=0.02)) as provider, served(openai(home, provider)) as url:
        caller = Caller(url)
        with pytest.raises(httpx2.ReadTimeout):
            caller.http.post("/chat", json={"message": "hello"}, timeout=0.5)
        provider.wait_for(lambda server: server.disconnects == 1)


def test_stop_ends_an_answer_that_streams_elsewhere(home: Path) -> None:
    """Two processes' worth of bots over one database: the stop reaches the other one through the store."""
    reply = Reply(endless=True, delay=0.02)
    with (
        ProviderServer(reply) as provider,
        served(openai(home, provider)) as url,
        served(openai(home, provider)) as other,
    ):
        caller, elsewhere = Caller(url), Caller(other)
        received: list[tuple[str, Any]] = []
        streaming = threading.Thread(target=lambda: received.extend(caller.events("hello")))
        streaming.start()
        provider.wait_for(lambda server: bool(server.calls))
        _until(lambda: usage(caller)["reserved_usd"] != "0")
        turn_id = _running_turn(home)
        assert elsewhere.http.post(f"/v1/turns/{turn_id}/stop").status_code == 204
        streaming.join(10)
        assert received[-1][0] == "done"
        assert received[-1][1]["finish_reason"] == "stopped"
        provider.wait_for(lambda server: server.disconnects == 1)
        assert elsewhere.http.post(f"/v1/turns/{turn_id}/stop").status_code == 404


def _running_turn(home: Path) -> str:
    [(sk,)] = sqlite3.connect(home / "wordup.db").execute(
        "SELECT sk FROM rows WHERE pk LIKE 'u:%' AND sk LIKE 'hold:%'"
    )
    return sk.removeprefix("hold:")


def test_rate_limit_counts_turns_a_minute(home: Path) -> None:
    now = [1_800_000_000.0]
    with served(settings(home, rate_limit_per_minute=3), clock=lambda: now[0]) as url:
        caller = Caller(url)
        assert [caller.ask("hi").status_code for _ in range(4)] == [200, 200, 200, 429]
        refused = caller.ask("hi")
        assert refused.json()["code"] == "rate_limited"
        now[0] += int(refused.headers["retry-after"])
        assert caller.ask("hi").status_code == 200


def test_turns_side_by_side_in_one_conversation_are_all_kept(home: Path) -> None:
    with ProviderServer(Reply(delay=0.02)) as provider, served(openai(home, provider)) as url:
        caller = Caller(url)
        conversation = caller.ask("first").json()["conversation_id"]
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda n: caller.ask(f"side {n}", conversation_id=conversation), range(16)))
        assert {answer.status_code for answer in answers} == {200}
        assert len(provider.calls) == 17
        read = caller.http.get(f"/v1/conversations/{conversation}").json()
        asked = {m["content"] for m in read["messages"] if m["role"] == "user"}
        assert asked == {"first", *(f"side {n}" for n in range(16))}
        assert read["conversation"]["turns"] == 17
        assert len(caller.http.get("/v1/conversations").json()["conversations"]) == 1


def test_conversation_deleted_under_a_running_turn_stays_deleted(home: Path) -> None:
    with ProviderServer() as provider, served(openai(home, provider)) as url:
        caller = Caller(url)
        conversation = caller.ask("first").json()["conversation_id"]
        provider.script(Reply(delay=0.2))
        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(caller.ask, "second", conversation_id=conversation)
            provider.wait_for(lambda server: len(server.calls) == 2)
            assert Caller(url).http.delete(f"/v1/conversations/{conversation}").status_code == 204
            assert running.result().json()["code"] == "not_found"
        assert caller.http.get(f"/v1/conversations/{conversation}").status_code == 404
        assert usage(caller)["reserved_usd"] == "0"


def test_user_erased_under_a_running_turn_stays_erased(home: Path) -> None:
    with ProviderServer(Reply(delay=0.2)) as provider, served(openai(home, provider)) as url:
        caller = Caller(url)
        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(caller.ask, "first")
            provider.wait_for(lambda server: len(server.calls) == 1)
            assert Caller(url).http.delete("/v1/me").status_code == 204
            assert running.result().json()["code"] == "invalid_token"
        assert caller.http.get("/v1/me/export").json()["conversations"] == []


def test_no_secret_and_no_message_in_the_log(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with ProviderServer() as provider, served(openai(home, provider, openai_api_key="sk-hidden")) as url:
        caller = Caller(url)
        caller.ask("my-secret-question")
        caller.ask("my-secret-question", conversation_id="bad")
        provider.script(Reply(status=401))
        caller.ask("my-secret-question")
        token = caller.http.headers["authorization"].removeprefix("Bearer ")
    written = "".join(capfd.readouterr())
    assert '"event":"request"' in written
    for secret in ("my-secret-question", "sk-hidden", token, "the owner's key", "A stand-in"):
        assert secret not in written


def test_quiet_stream_is_kept_alive(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordup.chat.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("wordup.chat.QUIET_LOOKS", 1)
    with ProviderServer(Reply(delay=0.3)) as provider, served(openai(home, provider)) as url:
        response = Caller(url).http.post("/chat", json={"message": "hello", "stream": True})
        assert "\n\n: still here\n\n" in response.text
        assert list(parse_events(iter([response.text])))[-1][0] == "done"


def _until(condition: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)
