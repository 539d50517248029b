"""Bad input: each its own code and status, nothing lost."""

import base64
import json
import time
from pathlib import Path

import httpx2
import pytest

from tests.serving import KEY, Caller, served, settings
from wordup.auth import _signer
from wordup.ids import ulid

MESSAGE = "What does S3 store?"


def refused(response: httpx2.Response) -> tuple[int, str]:
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["status"] == response.status_code
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["detail"]
    assert problem["mend"]
    return response.status_code, problem["code"]


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        (b"{", "malformed_json", None),
        (b"", "malformed_json", None),
        (b"\xff\xfe", "malformed_json", None),
        (b"[" * 100_000, "invalid_field", "/"),
        (b"[]", "invalid_field", "/"),
        (b"null", "invalid_field", "/"),
        (b"{}", "invalid_field", "/message"),
        (b'{"message": 1}', "invalid_field", "/message"),
        (b'{"message": "  "}', "invalid_field", "/message"),
        (b'{"message": "\\ud800"}', "malformed_json", None),
        (b'{"message": "hi", "stream": "yes"}', "invalid_field", "/stream"),
        (b'{"message": "hi", "user_id": "someone"}', "unknown_field", "/user_id"),
        (b'{"message": "hi", "conversation_id": "../x"}', "invalid_field", "/conversation_id"),
        (b'{"message": "hi", "regenerate_of": "x.y"}', "invalid_field", "/regenerate_of"),
        (json.dumps({"message": "x" * 16_001}).encode(), "invalid_field", "/message"),
    ],
)
def test_bad_body_names_code_and_pointer(caller: Caller, body: bytes, code: str, pointer: str | None) -> None:
    response = caller.http.post("/chat", content=body, headers={"content-type": "application/json"})
    assert refused(response) == (400, code)
    assert response.json().get("pointer") == pointer


def test_longest_message_is_answered(caller: Caller) -> None:
    assert caller.ask("é" * 16_000).status_code == 200


def test_body_over_limit_is_refused_with_and_without_length(caller: Caller) -> None:
    huge = b" " * 1_100_000
    headers = {"content-type": "application/json"}
    assert refused(caller.http.post("/chat", content=huge, headers=headers)) == (413, "too_large")
    chunks = (huge[:100_000] for _ in range(11))
    assert refused(caller.http.post("/chat", content=chunks, headers=headers)) == (413, "too_large")


def test_other_media_type_is_refused(caller: Caller) -> None:
    response = caller.http.post("/chat", content=b"message=hi", headers={"content-type": "text/plain"})
    assert refused(response) == (415, "unsupported_media_type")


def test_unknown_and_retired_models_are_refused(home: Path) -> None:
    with served(settings(home, provider="openai", openai_api_key="unused")) as url:
        caller = Caller(url)
        assert refused(caller.ask("hi", model="openai:gpt-0")) == (422, "unknown_model")
        retired = caller.ask("hi", model="gpt-4-turbo")
        assert refused(retired) == (422, "model_retired")
        assert retired.json()["successor"] in {model["id"] for model in caller.http.get("/v1/models").json()["data"]}


def test_idempotency_key_has_a_length(caller: Caller) -> None:
    assert refused(caller.ask("hi", key="k" * 256)) == (400, "invalid_field")


def test_paths_and_methods_that_are_not_there(caller: Caller) -> None:
    assert refused(caller.http.get("/v1/nothing")) == (404, "not_found")
    wrong = caller.http.get("/chat")
    assert refused(wrong) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"


def test_cursor_of_another_list_is_refused(caller: Caller) -> None:
    conversation = caller.ask(MESSAGE).json()["conversation_id"]
    foreign = base64.urlsafe_b64encode(b"key:x").decode()
    for cursor in (foreign, "%%%", "é"):
        assert refused(caller.http.get("/v1/conversations", params={"cursor": cursor})) == (400, "invalid_field")
        response = caller.http.get(f"/v1/conversations/{conversation}", params={"cursor": cursor})
        assert refused(response) == (400, "invalid_field")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, (401, "missing_token")),
        ("Bearer wu_wrong", (403, "wrong_access_key")),
        ("Basic abc", (401, "missing_token")),
        ("Bearer", (401, "missing_token")),
        ("Bearer abc", (401, "invalid_token")),
        ("Bearer a.b.c", (401, "invalid_token")),
    ],
)
def test_bad_token_is_refused(url: str, header: str | None, expected: tuple[int, str]) -> None:
    response = httpx2.get(f"{url}/v1/me/usage", headers={} if header is None else {"authorization": header})
    assert refused(response) == expected
    assert response.headers.get("www-authenticate", "").startswith("Bearer") is (expected[0] == 401)


def test_token_of_another_signer_is_refused(caller: Caller) -> None:
    token = caller.http.headers["authorization"].removeprefix("Bearer ")
    kid, claims, signature = token.split(".")
    stranger = _signer(b"x" * 32)
    jwt = f"{base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b'=').decode()}.{claims}."
    for bad in (
        stranger.sign(f"{kid}.{claims}").decode(),
        stranger.sign(f"new.{claims}").decode(),
        f"{kid}.{claims}.",
        f"{kid}.{claims}",
        f"{kid}.{claims[:-1]}.{signature}",
        f"new.{claims}.{signature}",
        jwt,
        f"{token}.{signature}",
    ):
        response = caller.http.get("/v1/me/usage", headers={"authorization": f"Bearer {bad}"})
        assert refused(response) == (401, "invalid_token")


def test_expired_token_says_so(home: Path) -> None:
    now = [time.time()]
    with served(settings(home, session_minutes=5), clock=lambda: now[0]) as url:
        caller = Caller(url)
        assert caller.http.get("/v1/me/usage").status_code == 200
        now[0] += 301
        assert refused(caller.http.get("/v1/me/usage")) == (401, "expired_token")


def test_wrong_access_key_is_refused(url: str) -> None:
    for key in ("wu_wrong", "' OR 1=1 --", "é"):
        response = httpx2.post(f"{url}/v1/sessions", json={}, headers=[(b"x-api-key", key.encode())])
        assert refused(response) == (403, "wrong_access_key")
    assert refused(httpx2.post(f"{url}/v1/sessions", json={})) == (401, "missing_token")
    extra = httpx2.post(f"{url}/v1/sessions", json={"user_id": "x"}, headers={"x-api-key": KEY})
    assert refused(extra) == (400, "unknown_field")


def test_ids_that_are_not_there_are_not_found(caller: Caller) -> None:
    absent, message = ulid(), f"{ulid()}.{ulid()}"
    http = caller.http
    for response in (
        http.get(f"/v1/conversations/{absent}"),
        http.get("/v1/conversations/..%2F..%2Fetc"),
        http.get(f"/v1/conversations/{absent}/export"),
        http.patch(f"/v1/conversations/{absent}", json={"title": "x"}),
        http.delete(f"/v1/conversations/{absent}"),
        http.put(f"/v1/messages/{message}/feedback", json={"rating": "up"}),
        http.put("/v1/messages/nonsense/feedback", json={"rating": "up"}),
        http.delete(f"/v1/messages/{message}/feedback"),
        http.post(f"/v1/turns/{absent}/stop"),
        caller.ask("hi", conversation_id=absent),
        caller.ask(None, regenerate_of=message),
    ):
        assert refused(response) == (404, "not_found"), response.request.url


def test_refused_requests_spend_and_store_nothing(home: Path) -> None:
    with served(settings(home)) as url:
        caller = Caller(url)
        caller.ask("hi", conversation_id=ulid())
        caller.http.post("/chat", content=b"{", headers={"content-type": "application/json"})
        usage = caller.http.get("/v1/me/usage").json()
        assert usage["today"] == {"requests": 0, "input_tokens": 0, "output_tokens": 0, "cost_usd": "0"}
        assert usage["reserved_usd"] == "0"
        assert caller.http.get("/v1/conversations").json() == {"conversations": [], "cursor": None}
