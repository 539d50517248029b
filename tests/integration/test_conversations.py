"""Conversations over HTTP: what is said is kept, in order, by its owner alone."""

from pathlib import Path

import anyio

from tests.serving import Caller, served, settings
from wordup.auth import issue_key, revoke_keys
from wordup.bootstrap import open_store

QUESTION = "What does S3 store?"


def test_follow_up_joins_the_conversation(caller: Caller) -> None:
    first = caller.ask(QUESTION).json()
    second = caller.ask("And on Azure?", conversation_id=first["conversation_id"]).json()
    assert second["conversation_id"] == first["conversation_id"]
    read = caller.http.get(f"/v1/conversations/{first['conversation_id']}").json()
    assert [(m["role"], m["content"]) for m in read["messages"]] == [
        ("user", QUESTION),
        ("assistant", first["message"]),
        ("user", "And on Azure?"),
        ("assistant", second["message"]),
    ]
    assert read["conversation"]["title"] == QUESTION
    assert read["conversation"]["turns"] == 2


def test_streamed_answer_equals_the_stored_one(caller: Caller) -> None:
    events = caller.events(QUESTION)
    names = [name for name, _ in events]
    assert names[0] == "start"
    assert names[-1] == "done"
    assert set(names[1:-1]) == {"delta"}
    assert "".join(data["text"] for name, data in events if name == "delta") == events[-1][1]["message"]
    assert events[0][1]["message_id"] == events[-1][1]["message_id"]
    read = caller.http.get(f"/v1/conversations/{events[-1][1]['conversation_id']}").json()
    assert read["messages"][-1]["content"] == events[-1][1]["message"]


def test_accept_header_streams_too(caller: Caller) -> None:
    response = caller.http.post("/chat", json={"message": QUESTION}, headers={"accept": "text/event-stream"})
    assert response.headers["content-type"].startswith("text/event-stream")


def test_list_has_newest_activity_first_and_pages(home: Path) -> None:
    with served(settings(home, rate_limit_per_minute=1000)) as url:
        caller = Caller(url)
        ids = [caller.ask(f"Question {n} about S3").json()["conversation_id"] for n in range(35)]
        caller.ask("again", conversation_id=ids[3])
        first = caller.http.get("/v1/conversations").json()
        rest = caller.http.get("/v1/conversations", params={"cursor": first["cursor"]}).json()
        listed = [each["id"] for each in first["conversations"] + rest["conversations"]]
        assert listed == [ids[3], *(each for each in reversed(ids) if each != ids[3])]
        assert rest["cursor"] is None


def test_rename_shows_in_list_and_conversation(caller: Caller) -> None:
    conversation = caller.ask(QUESTION).json()["conversation_id"]
    renamed = caller.http.patch(f"/v1/conversations/{conversation}", json={"title": "  Mine \n 🎈 "}).json()
    assert renamed["title"] == "Mine 🎈"
    assert caller.http.get("/v1/conversations").json()["conversations"][0]["title"] == "Mine 🎈"
    assert caller.http.get(f"/v1/conversations/{conversation}").json()["conversation"]["title"] == "Mine 🎈"
    caller.ask("And on Azure?", conversation_id=conversation)
    assert caller.http.get("/v1/conversations").json()["conversations"][0]["title"] == "Mine 🎈"
    empty = caller.http.patch(f"/v1/conversations/{conversation}", json={"title": " "})
    assert empty.json()["pointer"] == "/title"


def test_delete_takes_every_message_along(caller: Caller) -> None:
    conversation = caller.ask(QUESTION).json()["conversation_id"]
    for n in range(30):
        caller.ask(f"more {n}", conversation_id=conversation)
    assert caller.http.delete(f"/v1/conversations/{conversation}").status_code == 204
    assert caller.http.get(f"/v1/conversations/{conversation}").status_code == 404
    assert conversation not in caller.http.get("/v1/conversations").text
    assert conversation not in caller.http.get("/v1/me/export").text
    assert caller.http.delete(f"/v1/conversations/{conversation}").status_code == 404


def test_export_has_every_turn_in_order(caller: Caller) -> None:
    conversation = caller.ask("S3 question 0").json()["conversation_id"]
    for n in range(1, 30):
        caller.ask(f"S3 question {n}", conversation_id=conversation)
    exported = caller.http.get(f"/v1/conversations/{conversation}/export")
    assert exported.headers["content-disposition"] == f'attachment; filename="conversation-{conversation}.json"'
    asked = [m["content"] for m in exported.json()["messages"] if m["role"] == "user"]
    assert asked == [f"S3 question {n}" for n in range(30)]
    markdown = caller.http.get(f"/v1/conversations/{conversation}/export", params={"format": "md"}).text
    assert markdown.index("S3 question 0") < markdown.index("S3 question 29")
    wrong = caller.http.get(f"/v1/conversations/{conversation}/export", params={"format": "pdf"})
    assert wrong.json()["code"] == "invalid_field"


def test_older_messages_come_by_cursor(caller: Caller) -> None:
    conversation = caller.ask("S3 question 0").json()["conversation_id"]
    for n in range(1, 30):
        caller.ask(f"S3 question {n}", conversation_id=conversation)
    address = f"/v1/conversations/{conversation}"
    newest = caller.http.get(address).json()
    older = caller.http.get(address, params={"cursor": newest["cursor"]}).json()
    asked = [m["content"] for page in (older, newest) for m in page["messages"] if m["role"] == "user"]
    assert asked == [f"S3 question {n}" for n in range(30)]


def test_feedback_is_kept_replaced_and_taken_back(caller: Caller) -> None:
    answer = caller.ask(QUESTION).json()
    address = f"/v1/messages/{answer['message_id']}/feedback"

    def stored() -> object:
        read = caller.http.get(f"/v1/conversations/{answer['conversation_id']}").json()
        return read["messages"][-1].get("feedback")

    given = {"rating": "down", "reasons": ["wrong"], "comment": "It's 5 TB"}
    assert caller.http.put(address, json=given).status_code == 204
    assert stored() == given
    assert caller.http.put(address, json={"rating": "up"}).status_code == 204
    assert stored() == {"rating": "up"}
    assert caller.http.delete(address).status_code == 204
    assert stored() is None
    assert caller.http.put(address, json={"rating": "meh"}).json()["pointer"] == "/rating"
    long = caller.http.put(address, json={"rating": "up", "comment": "x" * 2001})
    assert long.json()["pointer"] == "/comment"


def test_regenerate_replaces_the_answer_in_its_place(caller: Caller) -> None:
    first = caller.ask(QUESTION).json()
    second = caller.ask("And on Azure?", conversation_id=first["conversation_id"]).json()
    again = caller.ask(None, regenerate_of=first["message_id"]).json()
    assert again["message_id"] == first["message_id"]
    read = caller.http.get(f"/v1/conversations/{first['conversation_id']}").json()
    assert [m["id"] for m in read["messages"] if m["role"] == "assistant"] == [
        first["message_id"],
        second["message_id"],
    ]
    assert read["conversation"]["turns"] == 2
    edited = caller.ask("What does Blob Storage store?", regenerate_of=first["message_id"]).json()
    assert edited["message_id"] == first["message_id"]
    read = caller.http.get(f"/v1/conversations/{first['conversation_id']}").json()
    assert read["messages"][0]["content"] == "What does Blob Storage store?"


async def _issue(folder: Path, user: str) -> str:
    store = open_store(settings(folder))
    try:
        return await issue_key(store, user, "test")
    finally:
        await store.close()


async def _revoke(folder: Path, user: str) -> int:
    store = open_store(settings(folder))
    try:
        return await revoke_keys(store, user)
    finally:
        await store.close()


def test_what_belongs_to_someone_else_is_not_found(home: Path) -> None:
    with served(settings(home)) as url:
        mine, theirs = Caller(url), Caller(url, anyio.run(_issue, home, "o'brien"))
        answer = mine.ask(QUESTION).json()
        conversation, http = answer["conversation_id"], theirs.http
        for response in (
            http.get(f"/v1/conversations/{conversation}"),
            http.get(f"/v1/conversations/{conversation}/export"),
            http.patch(f"/v1/conversations/{conversation}", json={"title": "stolen"}),
            http.delete(f"/v1/conversations/{conversation}"),
            http.put(f"/v1/messages/{answer['message_id']}/feedback", json={"rating": "up"}),
            theirs.ask("hello", conversation_id=conversation),
            theirs.ask(None, regenerate_of=answer["message_id"]),
        ):
            assert (response.status_code, response.json()["code"]) == (404, "not_found")
        assert http.get("/v1/conversations").json()["conversations"] == []
        kept = mine.http.get(f"/v1/conversations/{conversation}").json()
        assert [m["content"] for m in kept["messages"]] == [QUESTION, answer["message"]]


def test_access_keys_are_personal_hashed_and_revocable(home: Path) -> None:
    with served(settings(home)) as url:
        key = anyio.run(_issue, home, "ada")
        first = Caller(url, key)
        first.ask(QUESTION)
        returning = Caller(url, anyio.run(_issue, home, "ada"))
        assert len(returning.http.get("/v1/conversations").json()["conversations"]) == 1
        renewed = first.http.post("/v1/sessions", json={})
        assert renewed.status_code == 201
        assert renewed.json()["user_id"] == "ada"
        assert anyio.run(_revoke, home, "ada") == 2
        assert first.http.post("/v1/sessions", json={}).json()["code"] == "wrong_access_key"
        again = first.http.post("/v1/sessions", json={}, headers={"x-api-key": key})
        assert again.json()["code"] == "wrong_access_key"
    assert key.encode() not in (home / "wordup.db").read_bytes()


def test_erased_user_leaves_nothing_and_writes_nothing(home: Path) -> None:
    with served(settings(home)) as url:
        key = anyio.run(_issue, home, "ada")
        caller, other = Caller(url, key), Caller(url)
        other.ask(QUESTION)
        for n in range(25):
            caller.ask(f"S3 question {n}")
        exported = caller.http.get("/v1/me/export").json()
        assert len(exported["conversations"]) == 25
        assert exported["user_id"] == "ada"
        assert caller.http.delete("/v1/me").status_code == 204
        assert caller.ask(QUESTION).json()["code"] == "invalid_token"
        assert caller.http.post("/v1/sessions", json={}, headers={"x-api-key": key}).status_code == 403
        emptied = caller.http.get("/v1/me/export").json()
        assert emptied["conversations"] == []
        assert emptied["usage"]["today"]["requests"] == 0
        assert len(other.http.get("/v1/conversations").json()["conversations"]) == 1
        comeback = Caller(url, anyio.run(_issue, home, "ada"))
        assert comeback.ask(QUESTION).status_code == 200
