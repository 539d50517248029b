"""What surrounds every request, and the pages."""

import json
import re
import sqlite3
import time
from pathlib import Path

import httpx2
import jsonschema
import pytest

from tests.serving import KEY, Caller, served, settings
from wordup import errors
from wordup.auth import named
from wordup.problems import status

WEB = Path(__file__).parents[2] / "functions" / "web"


def test_other_origins_are_refused_unless_named(home: Path, url: str) -> None:
    preflight = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in httpx2.options(f"{url}/chat", headers=preflight).headers
    with served(settings(home, allowed_origins="https://app.example, https://b.example")) as named_url:
        for origin, allowed in (("https://app.example", True), ("https://evil.example", False)):
            headers = {**preflight, "origin": origin, "access-control-request-headers": "authorization"}
            answer = httpx2.options(f"{named_url}/chat", headers=headers)
            assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
            assert "access-control-allow-credentials" not in answer.headers


def test_every_answer_has_security_headers_and_an_id(url: str) -> None:
    ids = set()
    for path in ("/", "/healthz", "/v1/conversations", "/nowhere"):
        headers = httpx2.get(url + path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        ids.add(headers["x-request-id"])
    assert len(ids) == 4


def test_pages_are_served_with_a_strict_policy_and_nothing_from_elsewhere(url: str) -> None:
    for file in (path for path in WEB.rglob("*") if path.is_file()):
        address = file.relative_to(WEB).as_posix().removesuffix("index.html")
        answer = httpx2.get(f"{url}/{address.removesuffix('.html')}")
        assert answer.status_code == 200
        assert answer.content == file.read_bytes()
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert not re.search(r"""(src|href)=["'](https?:)?//""", answer.text), "loads from elsewhere"
        again = httpx2.get(str(answer.url), headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_paths_out_of_the_web_folder_are_not_served(url: str) -> None:
    for path in ("/../wordup/app.py", "/%2e%2e/wordup/app.py", "/web/index.html", "/wordup/config.py"):
        assert httpx2.get(url + path).status_code == 404


def test_open_mode_answers_this_machine_alone(home: Path) -> None:
    with served(settings(home, auth="open", access_key="")) as url:
        assert httpx2.get(f"{url}/v1/me/usage").status_code == 200
        foreign = httpx2.get(f"{url}/v1/me/usage", headers={"host": "rebound.example"})
        assert foreign.status_code == 400


def test_turns_expire_with_their_retention(home: Path) -> None:
    now = [time.time()]
    with served(settings(home, retention_days=2), clock=lambda: now[0]) as url:
        caller = Caller(url)
        conversation = caller.ask("What is S3?").json()["conversation_id"]
        now[0] += 86_400
        caller = Caller(url)
        caller.ask("And on Azure?", conversation_id=conversation)
        now[0] += 1.5 * 86_400
        caller = Caller(url)
        read = caller.http.get(f"/v1/conversations/{conversation}").json()
        assert [m["content"] for m in read["messages"] if m["role"] == "user"] == ["And on Azure?"]
        now[0] += 86_400
        caller = Caller(url)
        assert caller.http.get(f"/v1/conversations/{conversation}").status_code == 404
        assert caller.http.get("/v1/conversations").json()["conversations"] == []
    kept = sqlite3.connect(home / "wordup.db").execute(
        "SELECT sk FROM rows WHERE pk = ? AND expires_at IS NULL", [named("owner").pk]
    )
    assert kept.fetchall() == []


def test_openapi_describes_every_answer_that_was_given(caller: Caller) -> None:
    document = caller.http.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    answered = caller.ask("What is S3?").json()
    conversation = answered["conversation_id"]
    for method, path, real, body in (
        ("post", "/chat", "/chat", {"message": "hi"}),
        ("post", "/v1/sessions", "/v1/sessions", {}),
        ("get", "/v1/conversations", "/v1/conversations", None),
        ("get", "/v1/conversations/{id}", f"/v1/conversations/{conversation}", None),
        ("patch", "/v1/conversations/{id}", f"/v1/conversations/{conversation}", {"title": "t"}),
        ("get", "/v1/conversations/{id}/export", f"/v1/conversations/{conversation}/export", None),
        ("get", "/v1/me/usage", "/v1/me/usage", None),
        ("get", "/v1/me/export", "/v1/me/export", None),
        ("get", "/v1/models", "/v1/models", None),
        ("get", "/healthz", "/healthz", None),
        ("get", "/readyz", "/readyz", None),
        ("get", "/v1/conversations/{id}", "/v1/conversations/none", None),
        ("post", "/chat", "/chat", {"message": 1}),
    ):
        answer = caller.http.request(method, real, json=body)
        described = document["paths"][path][method]["responses"][str(answer.status_code)]["content"]
        media_type = answer.headers["content-type"].partition(";")[0]
        schema = {**described[media_type]["schema"], "components": document["components"]}
        jsonschema.validate(answer.json(), schema)


def test_every_error_has_a_code_a_sentence_a_mend_and_a_status() -> None:
    def tree(kind: type[errors.WordUpError]) -> list[type[errors.WordUpError]]:
        return [kind, *(each for sub in kind.__subclasses__() for each in tree(sub))]

    drawn = errors.__doc__ or ""
    # The command line has errors of its own, which no HTTP answer carries.
    for kind in (each for each in tree(errors.WordUpError) if each.__module__ == errors.__name__):
        assert re.fullmatch(r"[a-z_]+", kind.code)
        assert kind.sentence.endswith(".")
        assert kind.mend.endswith(".")
        assert 400 <= status(kind) < 600
        assert kind.__name__.startswith("_") or kind.__name__ in drawn


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_needs_no_key(url: str, path: str) -> None:
    assert httpx2.get(url + path).json() == {"status": "ok"}


def test_readiness_fails_where_the_signing_key_is_gone(home: Path) -> None:
    with served(settings(home)) as url:
        (home / "signing.json").unlink()
        answer = httpx2.get(f"{url}/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "secret_unavailable")
        refused = httpx2.post(f"{url}/v1/sessions", json={}, headers={"x-api-key": KEY})
        assert refused.json()["code"] == "secret_unavailable"


def test_readiness_fails_where_the_store_is_broken(home: Path) -> None:
    home.mkdir()
    (home / "wordup.db").write_bytes(json.dumps({"no": "database"}).encode() * 100)
    with served(settings(home)) as url:
        answer = httpx2.get(f"{url}/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert httpx2.get(f"{url}/healthz").status_code == 200


def test_signing_key_rotates_without_logging_anyone_out(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordup.keyring.CACHE_SECONDS", 0.0)
    with served(settings(home)) as url:
        caller = Caller(url)
        ring = json.loads((home / "signing.json").read_text())
        ring["keys"]["second"] = "A" * 43
        (home / "signing.json").write_text(json.dumps(ring))
        assert caller.http.get("/v1/me/usage").status_code == 200
        (home / "signing.json").write_text(json.dumps({**ring, "active": "second"}))
        assert caller.http.get("/v1/me/usage").status_code == 200
        later = Caller(url)
        assert later.http.get("/v1/me/usage").status_code == 200
        del ring["keys"][ring["active"]]
        (home / "signing.json").write_text(json.dumps({**ring, "active": "second"}))
        assert later.http.get("/v1/me/usage").status_code == 200
        assert caller.http.get("/v1/me/usage").json()["code"] == "invalid_token"


def test_source_of_an_answer_resolves_to_its_passage(caller: Caller, url: str) -> None:
    answer = caller.http.post("/chat", json={"message": "How large can an SQS message be?"}).json()
    for source in answer["sources"]:
        passage = caller.http.get("/v1/passages", params={"id": source["id"]}).json()
        assert {"id": source["id"], "title": source["title"], "url": source["url"]}.items() <= passage.items()
        assert passage["text"]
    assert caller.http.get("/v1/passages", params={"id": "article:nowhere#nothing"}).status_code == 404
    assert httpx2.get(f"{url}/v1/passages", params={"id": "service:message-queue"}).status_code == 401
