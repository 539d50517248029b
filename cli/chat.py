"""`wordup chat`: the bot in a terminal."""

import asyncio
import contextlib
import importlib
import signal
import sys
from typing import Annotated, Any

import typer
from rich.text import Text

from cli import console
from cli.answer import Answer, Block, printable
from cli.client import Client, Data
from infra import spec, targets
from wordup.errors import WordUpError

SERVED_URL = "http://127.0.0.1:8000"
HELP = "/new begins another conversation, /history shows this one, /quit (or Ctrl-D) leaves; Ctrl-C stops an answer."


def chat(
    question: Annotated[str | None, typer.Argument(help="Ask this and exit; without it, a conversation.")] = None,
    url: Annotated[
        str | None, typer.Option(help="The bot's address; without it, the one on this machine.", show_default=False)
    ] = None,
    key: Annotated[str | None, typer.Option(envvar="WORDUP_ACCESS_KEY", help="Your access key.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document; needs a question.")] = False,
) -> None:
    """Talk to the bot. A question may also come from standard input."""
    if question is None and not sys.stdin.isatty():
        question = sys.stdin.read()
    if question is None and as_json:
        raise typer.BadParameter("--json needs a question.")
    if question is not None and not question.strip():
        raise typer.BadParameter("The question is empty.")
    client = Client(*((url, key) if url else _here(key)))
    with asyncio.Runner() as runner:
        try:
            if question is None:
                _Conversation(runner, client).run()
            else:
                _ask_once(runner, client, question, as_json=as_json)
        finally:
            runner.run(client.close())


def _here(key: str | None) -> tuple[str, str | None]:
    """Address and key of what `wordup deploy` left on this machine, else the address that `wordup serve` listens on."""
    local = targets.open_target("local", spec.load())
    if url := local.outputs().get("url"):
        return url, key or local.read_secret().get("access_key")
    return SERVED_URL, key


def _ask_once(runner: asyncio.Runner, client: Client, question: str, *, as_json: bool) -> None:
    quiet = as_json or not console.screen.is_terminal
    turn = _Turn(client, question, None)
    done = runner.run(turn.run(None if quiet else Answer(console.screen)))
    if done is None:
        raise typer.Exit(130)
    if as_json:
        console.document(done)
    elif quiet:
        print(done["message"])
    else:
        _show_end(done)
    if turn.stopped:
        raise typer.Exit(130)


class _Conversation:
    """Lines that a person types: questions, and what begins with a slash."""

    def __init__(self, runner: asyncio.Runner, client: Client) -> None:
        self._runner = runner
        self._client = client
        self._id: str | None = None

    def run(self) -> None:
        """Until the person leaves."""
        importlib.import_module("readline")  # gives `input` its editing and its history
        _dim(HELP)
        while True:
            try:
                said = input("\n> ").strip()
                if said == "/quit":
                    return
                self._answer(said)
            except EOFError:
                console.screen.print()
                return
            except KeyboardInterrupt:
                _dim("\n/quit or Ctrl-D leaves.")
            except WordUpError as error:
                console.explain(error)

    def _answer(self, said: str) -> None:
        match said:
            case "":
                return
            case "/help":
                _dim(HELP)
            case "/new":
                self._id = None
                _dim("A new conversation.")
            case "/history":
                _show_history(self._runner.run(self._client.messages(self._id)) if self._id else [])
            case _ if said.startswith("/") and said[1:].isalpha():
                _dim(f"There is no {said}. {HELP}")
            case _:
                turn = _Turn(self._client, said, self._id)
                done = self._runner.run(turn.run(Answer(console.screen)))
                if done is not None:
                    self._id = turn.conversation_id
                _show_end(done)


class _Turn:
    """One question. Ctrl-C asks the bot to stop, and what has come is kept; a second one does not wait for that."""

    def __init__(self, client: Client, question: str, conversation_id: str | None) -> None:
        self._client = client
        self._question = question
        self._stopping: asyncio.Task[None] | None = None
        self._turn_id: str | None = None
        self.conversation_id = conversation_id

    @property
    def stopped(self) -> bool:
        return self._stopping is not None

    async def run(self, answer: Answer | None) -> Data | None:
        """The `done` object; None where the caller did not wait for it. Raises Refused, Unreachable."""
        loop = asyncio.get_running_loop()
        running = asyncio.current_task()
        assert running is not None

        def interrupted() -> None:
            if self._turn_id is None or self._stopping is not None:
                running.cancel()
            else:
                self._stopping = asyncio.create_task(self._client.stop(self._turn_id))

        loop.add_signal_handler(signal.SIGINT, interrupted)
        try:
            with answer or contextlib.nullcontext():
                return await self._events(answer)
        except asyncio.CancelledError:
            return None
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    async def _events(self, answer: Answer | None) -> Data | None:
        asked = self._client.ask(self._question, self.conversation_id)
        done: Data | None = None
        async with contextlib.aclosing(asked) as events:
            async for name, data in events:
                match name:
                    case "start":
                        self.conversation_id, self._turn_id = data["conversation_id"], data["turn_id"]
                        if answer:
                            answer.restart()
                    case "progress":
                        if answer:
                            _dim(f"Read {data['done']} of {data['total']} parts.")
                    case "delta":
                        if answer:
                            answer.add(data["text"])
                    case "done":
                        done = data
                    case _:  # an event of a later version
                        pass
        return done


def _show_end(done: Data | None) -> None:
    if done is None or done["finish_reason"] == "stopped":
        console.screen.print("Stopped.", style="dim")
    elif done["finish_reason"] == "length":
        console.screen.print("The answer reached its longest length.", style="dim")
    for number, source in enumerate(done["sources"] if done else [], 1):
        _dim(f"[{number}] {source['title']}")
        # Never broken over two lines by us: the terminal makes it a link.
        console.screen.print(
            printable(f"    {source.get('url') or source['id']}"), style="dim", markup=False, soft_wrap=True
        )


def _show_history(messages: list[dict[str, Any]]) -> None:
    for message in messages:
        mine = message["role"] == "user"
        _dim(f"{'you' if mine else 'bot'}, {message['created']}")
        said = printable(message["content"])
        console.screen.print(Text(said) if mine else Block(said))
        console.screen.print()
    if not messages:
        _dim("Nothing was said yet.")


def _dim(text: str) -> None:
    console.screen.print(printable(text), style="dim", markup=False)
