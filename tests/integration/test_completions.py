"""OpenAI's interface, by OpenAI's own package and by programs that speak it: none of them knows of this bot."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from infra.toolchain import TOOLS
from tests.provider_server import ProviderServer, Reply
from tests.serving import KEY, served, settings
from wordup import keys

PRICES = "openai:stand-in=1/2"
SAID: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "Answer like a pirate."},
    {"role": "user", "content": "What is S3?"},
    {"role": "assistant", "content": "A store of objects."},
    {"role": "user", "content": [{"type": "text", "text": "What does Google call it?"}]},
]


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderServer]:
    with ProviderServer(Reply(deltas=("Cloud ", "Storage", "."))) as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def url(folder: Path, provider: ProviderServer) -> Iterator[str]:
    model = {"provider": "openai", "model": "openai:stand-in", "model_prices": PRICES}
    roomy = {"rate_limit_per_minute": 10_000, "user_daily_usd": 100}
    with served(settings(folder, openai_base_url=provider.url, openai_api_key="sk", **model, **roomy)) as address:
        yield f"{address}/v1"


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as made:
        yield made


def usage(url: str) -> Any:
    return httpx2.get(f"{url}/me/usage", headers={"x-api-key": KEY}).json()


def test_answer_is_what_openais_package_expects(client: openai.OpenAI, provider: ProviderServer) -> None:
    answer = client.chat.completions.create(model="wordup", messages=SAID, max_tokens=50, temperature=0.2, user="anna")
    assert answer.choices[0].message.content == "Cloud Storage."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert answer.to_dict()["sources"], "found in the bot's own knowledge"
    sent = provider.calls[-1].body
    assert (sent["max_tokens"], sent["temperature"]) == (50, 0.2)
    first, *others = sent["messages"]
    assert "You are Word Up! Bot" in first["content"]
    assert first["content"].endswith("Answer like a pirate.")
    assert [(each["role"], each["content"]) for each in others if each["role"] != "system"] == [
        ("user", "What is S3?"),
        ("assistant", "A store of objects."),
        ("user", "What does Google call it?"),
    ]


def test_stream_ends_with_its_usage_where_that_was_asked_for(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="wordup", messages=SAID, stream=True, stream_options={"include_usage": True}
        )
    )
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == "Cloud Storage."
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert (chunks[-1].choices, chunks[-1].usage is not None) == ([], True)
    assert len({chunk.id for chunk in chunks}) == 1
    plain = list(client.chat.completions.create(model="wordup", messages=SAID, stream=True))
    assert [chunk.usage for chunk in plain] == [None] * len(plain)


def test_nothing_is_kept_but_what_it_cost(client: openai.OpenAI, url: str, folder: Path) -> None:
    before = usage(url)
    client.chat.completions.create(model="wordup", messages=SAID)
    after = usage(url)
    assert after["today"]["requests"] == before["today"]["requests"] + 1
    assert float(after["today"]["cost_usd"]) > float(before["today"]["cost_usd"])
    assert after["reserved_usd"] == "0"
    kept = sqlite3.connect(folder / "wordup.db").execute("SELECT pk, sk, data FROM rows").fetchall()
    assert [
        sk
        for pk, sk, _ in kept
        if pk.startswith(keys.USERS) and sk.startswith(("turn:", "conv:", "recent:", "hold:", "idem:"))
    ] == []
    assert not [row for row in kept if "pirate" in str(row) or "Cloud Storage" in str(row)]


def test_history_that_is_too_long_loses_its_oldest(client: openai.OpenAI, provider: ProviderServer) -> None:
    long: list[ChatCompletionMessageParam] = []
    for n in range(80):
        long.append({"role": "user", "content": f"{n} " * 100})
        long.append({"role": "assistant", "content": f"{n} " * 100})
    long.append({"role": "user", "content": "And now?"})
    client.chat.completions.create(model="wordup", messages=long)
    sent = [each["content"] for each in provider.calls[-1].body["messages"]]
    assert any(text.startswith("79 ") for text in sent)
    assert not any(text.startswith("1 ") for text in sent)
    assert sum(map(len, sent)) < 6_000 * 4 + 16_000


def test_models_are_listed_with_the_bot_among_them(client: openai.OpenAI) -> None:
    assert {"wordup", "openai:stand-in"} <= {model.id for model in client.models.list()}


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("n", 2),
        ("stop", ["."]),
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": {}}}]),
        ("tool_choice", "required"),
        ("response_format", {"type": "json_object"}),
        ("logprobs", True),
        ("modalities", ["audio"]),
        ("logit_bias", {"50256": -100}),
    ],
)
def test_parameter_that_cannot_be_honoured_is_refused_by_name(
    client: openai.OpenAI, provider: ProviderServer, parameter: str, value: Any
) -> None:
    calls = len(provider.calls)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="wordup", messages=SAID, extra_body={parameter: value})
    assert (caught.value.code, caught.value.param) == ("invalid_field", parameter)
    assert caught.value.type == "invalid_request_error"
    assert len(provider.calls) == calls


def test_parameter_that_asks_for_nothing_is_taken(client: openai.OpenAI) -> None:
    nothing = {"n": 1, "stop": None, "tools": [], "tool_choice": "none", "logprobs": False, "logit_bias": {}}
    hints = {
        "seed": 1,
        "top_p": 0.5,
        "store": False,
        "service_tier": "auto",
        "metadata": {"a": "b"},
        "verbosity": "low",
    }
    client.chat.completions.create(
        model="wordup", messages=SAID, extra_body={**nothing, **hints, "response_format": {"type": "text"}}
    )


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ([{"role": "system", "content": "Be kind."}], "messages"),
        ([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hel"}], "messages"),
        ([{"role": "tool", "content": "4", "tool_call_id": "1"}], "messages.0.role"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
            "messages.0.content.0.type",
        ),
        ([{"role": "user", "content": "x" * 16_001}], "message"),
        ([{"role": "user", "content": ""}], "message"),
    ],
)
def test_messages_that_cannot_be_answered_are_refused(client: openai.OpenAI, messages: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="wordup", messages=messages)
    assert (caught.value.code, caught.value.param) == ("invalid_field", param)


def test_parameter_that_openai_does_not_have_either_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="wordup", messages=SAID, extra_body={"conversation_id": "x"})
    assert caught.value.code == "unknown_field"


def test_refusals_are_openais_errors_with_our_codes(client: openai.OpenAI, url: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as unknown:
        client.chat.completions.create(model="gpt-0", messages=SAID)
    assert unknown.value.code == "unknown_model"
    with pytest.raises(openai.PermissionDeniedError) as wrong:
        client.with_options(api_key="wu_wrong").chat.completions.create(model="wordup", messages=SAID)
    assert (wrong.value.code, wrong.value.type) == ("wrong_access_key", "permission_error")
    with pytest.raises(openai.AuthenticationError) as invalid:
        client.with_options(api_key="eyJ.x.y").chat.completions.create(model="wordup", messages=SAID)
    assert (invalid.value.code, invalid.value.type) == ("invalid_token", "authentication_error")


def test_provider_that_fails_is_told_before_and_within_the_stream(
    client: openai.OpenAI, provider: ProviderServer, url: str
) -> None:
    provider.script(Reply(status=401))
    with pytest.raises(openai.InternalServerError) as before:
        client.chat.completions.create(model="wordup", messages=SAID)
    assert (before.value.status_code, before.value.code) == (502, "provider_error")
    provider.script(Reply(deltas=("Cloud ", "Storage"), cut_after=1))
    with pytest.raises(openai.APIError) as within:
        list(client.chat.completions.create(model="wordup", messages=SAID, stream=True))
    assert within.value.code == "provider_error"
    assert usage(url)["reserved_usd"] == "0"


def test_limits_hold_and_a_spent_budget_is_not_asked_for_again(home: Path) -> None:
    with served(settings(home, rate_limit_per_minute=1), clock=lambda: 1_000_020.0) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0)
        client.chat.completions.create(model="wordup", messages=SAID)
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="wordup", messages=SAID)
        assert (caught.value.code, caught.value.response.headers["retry-after"]) == ("rate_limited", "60")
        client.close()
    with ProviderServer() as provider:
        model = {"provider": "openai", "model": "openai:stand-in", "model_prices": PRICES, "user_daily_usd": 0}
        poor = settings(home, openai_base_url=provider.url, openai_api_key="sk", **model)
        with served(poor) as address:
            client = openai.OpenAI(base_url=f"{address}/v1", api_key=KEY)
            with pytest.raises(openai.RateLimitError) as caught:
                client.chat.completions.create(model="wordup", messages=SAID)
            assert caught.value.code == "budget_exceeded"
            today = httpx2.get(f"{address}/v1/me/usage", headers={"x-api-key": KEY}).json()["today"]
            assert today["requests"] == 0
            client.close()
        assert provider.calls == []


@pytest.mark.parametrize("stream", [True, False])
def test_caller_who_leaves_ends_the_providers_call(
    client: openai.OpenAI, provider: ProviderServer, url: str, stream: bool
) -> None:
    left = provider.disconnects
    provider.script(Reply(endless=True, delay=0.01))
    if stream:
        with client.chat.completions.create(model="wordup", messages=SAID, stream=True) as answer:
            for _, _ in zip(range(3), answer, strict=False):
                pass
    else:
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=1).chat.completions.create(model="wordup", messages=SAID)
    provider.wait_for(lambda server: server.disconnects > left)


def test_llm_of_the_command_line_asks_the_bot(url: str, tmp_path: Path) -> None:
    model = {"model_id": "wordup", "model_name": "wordup", "api_base": url, "api_key_name": "wordup"}
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([model]))
    (tmp_path / "keys.json").write_text(json.dumps({"wordup": KEY}))
    for extra in ([], ["--no-stream"]):
        command = [
            Path(sys.executable).with_name("llm"),
            "prompt",
            "-m",
            "wordup",
            "-s",
            "Be brief.",
            *extra,
            "What is S3?",
        ]
        told = subprocess.run(
            command,
            env={"LLM_USER_PATH": str(tmp_path), "PATH": os.defpath},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert told.stdout == "Cloud Storage.\n", told.stderr


LITELLM = """
import sys, litellm
url, key = sys.argv[1:]
common = {"model": "openai/wordup", "api_base": url, "api_key": key, "messages": [{"role": "user", "content": "S3?"}]}
answer = litellm.completion(**common, temperature=0.1, max_tokens=20)
print(answer.choices[0].message.content, answer.usage.total_tokens > 0)
chunks = list(litellm.completion(**common, stream=True, stream_options={"include_usage": True}))
texts = (chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
print("".join(texts), chunks[-1].usage.total_tokens > 0)
litellm.suppress_debug_info = True
try:
    litellm.completion(**{**common, "model": "openai/gpt-0"}, max_retries=0)
except litellm.BadRequestError as error:
    print("There is no model 'gpt-0'" in str(error))
"""


def test_litellm_asks_the_bot(url: str, tmp_path: Path) -> None:
    told = subprocess.run(
        [TOOLS / "litellm" / "bin" / "python", "-c", LITELLM, url, KEY],
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert told.stdout.splitlines() == ["Cloud Storage. True", "Cloud Storage. True", "True"], told.stderr
