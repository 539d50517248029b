"""A text longer than the model's context, summarised through the application: part by part, paid for, and stoppable."""

from pathlib import Path
from typing import Any

from tests.provider_server import ProviderServer, Reply
from tests.serving import Caller, parse_events, served, settings
from wordup.prompts import prompt_bound
from wordup.providers.offline import SENTENCES
from wordup.summaries import ASSUMED_CONTEXT_TOKENS, BYTES_PER_TOKEN

LINE = "Paragraph {} tells that gate {} opens at dawn and closes at dusk, whatever the weather.\n\n"
TEXT = "".join(LINE.format(n, n) for n in range(1, 1_501))
ASKED = f"Summarise this text:\n{TEXT}"


def openai(home: Path, provider: ProviderServer, **fields: Any) -> Any:
    known = {"provider": "openai", "model": "openai:stand-in", "model_prices": "openai:stand-in=1/2"}
    return settings(home, **known, openai_base_url=provider.url, message_characters=200_000, **fields)


def is_part(body: dict[str, Any]) -> bool:
    return body["messages"][-1]["content"].lstrip().startswith("Paragraph")


def answer(body: dict[str, Any]) -> Reply:
    return Reply(deltas=("- gates",) if is_part(body) else ("They", " open."))


def spent(caller: Caller) -> dict[str, Any]:
    return caller.http.get("/v1/me/usage").json()["today"]


def test_long_text_is_read_in_parts_then_summarised(home: Path) -> None:
    with ProviderServer(answer) as provider, served(openai(home, provider)) as url:
        caller = Caller(url)
        events = list(parse_events(iter([caller.ask(ASKED, stream=True).text])))
        *parts, last = [call.body["messages"] for call in provider.calls]
        assert len(parts) > 1
        assert "".join(part[-1]["content"] for part in parts) == TEXT
        assert max(len(part[-1]["content"]) for part in parts) <= ASSUMED_CONTEXT_TOKENS * BYTES_PER_TOKEN
        assert {str(part[:-1]) for part in parts} == {str(parts[0][:-1])}, "one prefix, for the prompt cache"
        assert last[-1]["content"].startswith("Summarise this text:")
        assert last[-1]["content"].count("- gates") == len(parts)
        names = [name for name, _ in events]
        assert names == ["start", *["progress"] * len(parts), "delta", "delta", "done"]
        assert events[len(parts)][1] == {"done": len(parts), "total": len(parts)}
        done = events[-1][1]
        assert done["message"] == "They open."
        said = sum(-(-sum(len(m["content"].encode()) for m in call.body["messages"]) // 4) for call in provider.calls)
        assert done["usage"]["input_tokens"] == said
        assert done["usage"]["output_tokens"] == len(parts) + 2
        assert spent(caller)["cost_usd"] == done["usage"]["cost_usd"]


def test_text_that_fits_is_one_call(home: Path) -> None:
    with ProviderServer(answer) as provider, served(openai(home, provider)) as url:
        Caller(url).ask(f"Summarise this text:\n{TEXT[:10_000]}")
        assert len(provider.calls) == 1


def test_parts_count_against_the_budget(home: Path) -> None:
    known = settings(home)
    one_call = prompt_bound(ASKED, known.history_tokens) + 2 * known.answer_tokens  # micro-dollars, at 1 and 2 a token
    with ProviderServer(answer) as provider, served(openai(home, provider, user_daily_usd=str(one_call / 1e6))) as url:
        caller = Caller(url)
        assert caller.ask(ASKED).json()["code"] == "budget_exceeded"
        assert provider.calls == []
        assert caller.ask(ASKED.replace("Summarise", "Interpret")).status_code == 200


def test_stop_between_parts_ends_the_calls_and_pays_for_those_made(home: Path) -> None:
    def endless_after_one(body: dict[str, Any]) -> Reply:
        return Reply(deltas=("- gates",), endless=len(provider.calls) > 1, delay=0.005)

    with ProviderServer(endless_after_one) as provider, served(openai(home, provider)) as url:
        caller = Caller(url)
        with caller.http.stream("POST", "/chat", json={"message": ASKED, "stream": True}) as response:
            events = parse_events(response.iter_text())
            _, started = next(events)
            assert next(events)[0] == "progress"
            provider.wait_for(lambda server: len(server.calls) == 2)
            assert caller.http.post(f"/v1/turns/{started['turn_id']}/stop").status_code == 204
            name, done = next(events)
        assert (name, done["finish_reason"], done["message"]) == ("done", "stopped", "")
        assert len(provider.calls) == 2
        assert done["usage"]["input_tokens"] > len(TEXT) // 8
        assert spent(caller)["cost_usd"] == done["usage"]["cost_usd"]


def test_part_that_fails_fails_the_turn_and_what_was_read_is_paid(home: Path) -> None:
    def fails(body: dict[str, Any]) -> Reply:
        return Reply(deltas=("- gates",)) if len(provider.calls) == 1 else Reply(status=400)

    with ProviderServer(fails) as provider, served(openai(home, provider)) as url:
        caller = Caller(url)
        failed = caller.ask(ASKED)
        assert failed.status_code == 502
        assert float(spent(caller)["cost_usd"]) > 0


def test_offline_takes_the_central_sentences_of_the_whole(home: Path) -> None:
    with served(settings(home, message_characters=200_000)) as url:
        caller = Caller(url)
        events = list(parse_events(iter([caller.ask(ASKED, stream=True).text])))
        assert "progress" not in [name for name, _ in events]
        answer = events[-1][1]["message"]
        assert answer.startswith("*I am running offline, without a language model.*")
        assert all(line[2:] in TEXT for line in answer.splitlines() if line.startswith("- "))
        assert answer.count("\n- ") == SENTENCES
