"""`wordup chat` against a served bot: in a pipe, and on a terminal."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cli.client import Client, Refused
from tests.home import WORDUP, environment, wordup
from tests.provider_server import ProviderServer, Reply
from tests.proxy import Proxy
from tests.serving import KEY, Caller, served, settings
from tests.terminal import Terminal

QUESTION = "What is a queue for?"


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


@pytest.fixture(scope="module")
def url(provider: ProviderServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bot whose model says what a test tells it."""
    fields = {"openai_api_key": "sk-test", "openai_base_url": provider.url, "rate_limit_per_minute": 1000}
    with served(settings(tmp_path_factory.mktemp("home"), **fields)) as address:
        yield address


def chat(folder: Path, url: str, *arguments: str, key: str = KEY, given: str | None = None):
    return wordup(folder, "chat", "--url", url, *arguments, given=given, WORDUP_ACCESS_KEY=key)


def turns(url: str) -> int:
    conversations = Caller(url).http.get("/v1/conversations").json()["conversations"]
    return sum(conversation["turns"] for conversation in conversations)


@contextlib.contextmanager
def on_terminal(folder: Path, url: str, *arguments: str) -> Iterator[Terminal]:
    command = [WORDUP, "chat", "--url", url, *arguments]
    with Terminal(command, folder, environment(folder, WORDUP_ACCESS_KEY=KEY)) as terminal:
        yield terminal


def test_pipe_gets_the_answer_as_it_was_written(url: str, provider: ProviderServer, tmp_path: Path):
    provider.script(Reply(deltas=("**A queue** ", "keeps\n\n", "- work")))
    done = chat(tmp_path, url, QUESTION)
    assert (done.returncode, done.stdout, done.stderr) == (0, "**A queue** keeps\n\n- work\n", "")


def test_question_may_come_from_standard_input(url: str, provider: ProviderServer, tmp_path: Path):
    before = len(provider.calls)
    done = chat(tmp_path, url, given=f"{QUESTION}\n")
    assert done.returncode == 0
    assert provider.calls[before].body["messages"][-1]["content"].strip() == QUESTION


def test_json_is_the_done_object_and_nothing_else(url: str, tmp_path: Path):
    done = chat(tmp_path, url, "--json", QUESTION)
    assert json.loads(done.stdout)["message"] == "A stand-in says hello."
    assert set(json.loads(done.stdout)) >= {"conversation_id", "message_id", "model", "usage", "finish_reason"}
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [[], [" "], ["--json"]], ids=["nothing", "only spaces", "json of nothing"])
def test_no_question_is_wrong_usage(arguments: list[str], tmp_path: Path):
    done = wordup(tmp_path, "chat", *arguments)
    assert (done.returncode, done.stdout) == (2, "")


def test_wrong_key_is_explained(url: str, tmp_path: Path):
    done = chat(tmp_path, url, QUESTION, key="wu_wrong")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: The access key is unknown or was revoked.\nmend:  ")


def test_missing_key_says_where_to_give_it(url: str, tmp_path: Path):
    done = wordup(tmp_path, "chat", "--url", url, QUESTION)
    assert done.returncode == 1
    assert "WORDUP_ACCESS_KEY" in done.stderr


def test_refused_question_is_explained(url: str, tmp_path: Path):
    done = chat(tmp_path, url, given="x" * 20_000)
    assert (done.returncode, done.stdout) == (1, "")
    assert "The message is longer than 16,000 characters." in done.stderr


def test_failure_of_the_provider_is_explained(url: str, provider: ProviderServer, tmp_path: Path):
    provider.script(Reply(status=401))
    done = chat(tmp_path, url, QUESTION)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: The model's service refused our request")


def test_nobody_there_is_explained_at_once(tmp_path: Path):
    done = chat(tmp_path, "http://127.0.0.1:9", QUESTION)
    assert done.returncode == 1
    assert done.stderr.startswith("error: http://127.0.0.1:9 cannot be reached: ")


def test_somebody_else_there_is_explained(tmp_path: Path):
    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(403)

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = chat(tmp_path, f"http://127.0.0.1:{server.server_port}", QUESTION)
        server.shutdown()
    assert done.returncode == 1
    assert "answered with status 403 and no explanation" in done.stderr


async def test_lost_connection_is_taken_up_again_without_a_second_turn(url: str, provider: ProviderServer):
    before, asked = turns(url), len(provider.calls)
    with Proxy(url) as proxy:
        client = Client(proxy.url, KEY)
        _ = [event async for event in client.ask("The first question opens the session.")]
        proxy.lose_answers(1)
        events = [event async for event in client.ask(QUESTION)]
        await client.close()
    assert [name for name, _ in events] == ["start", "delta", "done"]
    assert events[-1][1]["message"] == "A stand-in says hello."
    assert turns(url) == before + 2
    assert len(provider.calls) == asked + 2


async def test_expired_session_is_opened_again(tmp_path: Path):
    now = [1_800_000_000.0]
    with served(settings(tmp_path, session_minutes=1), clock=lambda: now[0]) as url:
        client = Client(url, KEY)
        _ = [event async for event in client.ask("hello")]
        now[0] += 120
        events = [event async for event in client.ask("hello")]
        now[0] += 120
        messages = await client.messages(events[-1][1]["conversation_id"])
        await client.close()
    assert events[-1][0] == "done"
    assert [message["content"] for message in messages] == ["hello", events[-1][1]["message"]]


async def test_refusal_carries_the_code_of_the_bot(url: str):
    client = Client(url, KEY)
    with pytest.raises(Refused) as refused:
        _ = [event async for event in client.ask(QUESTION, "no-conversation-id")]
    await client.close()
    assert refused.value.code == "invalid_field"


def test_terminal_shows_markdown_and_its_sources(url: str, provider: ProviderServer, tmp_path: Path):
    provider.script(Reply(deltas=("## A queue\n\n", "keeps **wo", "rk**.\n\n", "- one\n", "- two")))
    with on_terminal(tmp_path, url, "What is Amazon SQS?") as terminal:
        assert terminal.ended() == 0
        shown = terminal.seen
    assert "**" not in shown
    assert "keeps work." in shown
    assert " • two" in shown
    assert "[1] " in shown


def test_terminal_tells_how_much_of_a_long_text_was_read(tmp_path: Path):
    known = {"model": "openai:stand-in", "model_prices": "openai:stand-in=0/0", "message_characters": 200_000}
    text = "Gates open at dawn and close at dusk. " * 2_700  # more than is sent to a model of unknown context
    with ProviderServer() as provider:
        fields = {"openai_api_key": "sk-test", "openai_base_url": provider.url, **known}
        with (
            served(settings(tmp_path, **fields)) as url,
            on_terminal(tmp_path, url, f"Summarise this: {text}") as screen,
        ):
            screen.see("Read 1 of 3 parts.")
            screen.see("A stand-in says hello.")


def test_answer_longer_than_the_screen_is_whole(url: str, provider: ProviderServer, tmp_path: Path):
    lines = [f"line {n}\n\n" for n in range(60)]
    provider.script(Reply(deltas=tuple(lines)))
    command = [WORDUP, "chat", "--url", url, QUESTION]
    with Terminal(command, tmp_path, environment(tmp_path, WORDUP_ACCESS_KEY=KEY), rows=10) as terminal:
        assert terminal.ended() == 0
        for line in lines:
            terminal.see(line.strip())


def test_ctrl_c_stops_the_answer_and_not_the_program(url: str, provider: ProviderServer, tmp_path: Path):
    before, left = turns(url), provider.disconnects
    provider.script(Reply(deltas=("words ",), delay=0.05, endless=True))
    with on_terminal(tmp_path, url) as terminal:
        terminal.see("> ")
        terminal.type(f"{QUESTION}\n")
        terminal.see("words words")
        terminal.type("\x03")
        terminal.see("Stopped.")
        provider.wait_for(lambda server: server.disconnects == left + 1)
        terminal.see("> ")
        terminal.type("And now?\n")
        terminal.see("A stand-in says hello.")
        terminal.see("> ")
        terminal.type("\x04")
        assert terminal.ended() == 0
    assert turns(url) == before + 2


def test_ctrl_c_ends_a_single_question_with_130(url: str, provider: ProviderServer, tmp_path: Path):
    provider.script(Reply(deltas=("words ",), delay=0.05, endless=True))
    with on_terminal(tmp_path, url, QUESTION) as terminal:
        terminal.see("words words")
        terminal.type("\x03")
        assert terminal.ended() == 130
    http = Caller(url).http
    kept = http.get("/v1/conversations").json()["conversations"][0]
    answer = http.get(f"/v1/conversations/{kept['id']}").json()["messages"][-1]
    assert answer["finish_reason"] == "stopped"


def test_conversation_goes_on_until_a_new_one_begins(url: str, provider: ProviderServer, tmp_path: Path):
    before = len(provider.calls)
    with on_terminal(tmp_path, url) as terminal:
        for line in ("first", "second", "/new", "third"):
            terminal.see("> ")
            terminal.type(f"{line}\n")
            terminal.see("A new conversation." if line == "/new" else "A stand-in says hello.")
        terminal.see("> ")
        terminal.type("/history\n")
        terminal.see("third")
        terminal.see("A stand-in says hello.")
        terminal.type("/quit\n")
        assert terminal.ended() == 0
    said = [[m["content"] for m in call.body["messages"] if m["role"] == "user"] for call in provider.calls[before:]]
    assert said == [["first"], ["first", "second"], ["third"]]


def test_failed_question_does_not_end_the_conversation(url: str, provider: ProviderServer, tmp_path: Path):
    with on_terminal(tmp_path, url) as terminal:
        terminal.see("> ")
        provider.script(Reply(status=401))
        terminal.type("first\n")
        terminal.see("error: ")
        terminal.see("> ")
        terminal.type("second\n")
        terminal.see("A stand-in says hello.")


def test_ctrl_c_at_the_prompt_keeps_the_program(url: str, tmp_path: Path):
    with on_terminal(tmp_path, url) as terminal:
        terminal.see("> ")
        terminal.type("half a thou")
        terminal.see("half a thou")
        terminal.interrupt("/quit or Ctrl-D leaves.")
        terminal.see("> ")
        terminal.type("/quit\n")
        assert terminal.ended() == 0


def test_control_characters_of_a_model_do_not_reach_the_terminal(url: str, provider: ProviderServer, tmp_path: Path):
    provider.script(Reply(deltas=("before \x1b]0;stolen title\x07\x1b[2J after",)))
    with on_terminal(tmp_path, url, QUESTION) as terminal:
        assert terminal.ended() == 0
        assert "before ]0;stolen title[2J after" in terminal.seen


def test_question_is_never_asked_for_without_a_terminal(tmp_path: Path):
    done = subprocess.run([WORDUP, "chat"], stdin=subprocess.DEVNULL, capture_output=True, env=environment(tmp_path))
    assert done.returncode == 2
