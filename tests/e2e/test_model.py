"""A real language model behind the openai provider: the bot takes its words, and its count of them, as they are."""

import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from infra.toolchain import TOOLS
from tests import home
from tests.serving import Caller

SERVER = Path(__file__).parents[1] / "model_server.py"
QUESTION = "Say hello."
INPUT_USD, OUTPUT_USD = 100, 200  # a million tokens
# The model needs minutes where other work takes the processor.
PATIENT = {"PROVIDER_TIMEOUT_SECONDS": "800", "STREAM_TIMEOUT_SECONDS": "800", "LEASE_SECONDS": "900"}


@pytest.fixture
def model(tmp_path: Path) -> Iterator[str]:
    with (tmp_path / "log").open("w+") as log:
        command = [TOOLS / "model" / "bin" / "python", SERVER]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            assert url, (tmp_path / "log").read_text()
            yield url
        finally:
            process.kill()
            process.communicate()


def counted(model: str) -> tuple[int, int]:
    """How many tokens the model has read and written."""
    lines = httpx2.get(f"{model}/metrics", timeout=60).text.splitlines()
    values = dict(line.split() for line in lines if not line.startswith("#"))
    return int(values["llamacpp:prompt_tokens_total"]), int(values["llamacpp:tokens_predicted_total"])


@pytest.mark.timeout(900)
def test_streamed_answer_is_the_whole_one_and_both_are_paid_by_the_models_count(tmp_path: Path, model: str) -> None:
    variables = {f"WORDUP_{name}": value for name, value in PATIENT.items()}
    variables |= {"WORDUP_MODEL": "openai:smollm2", "WORDUP_ANSWER_TOKENS": "24", "WORDUP_USER_DAILY_USD": "1000"}
    variables |= {"WORDUP_MODEL_PRICES": f"openai:smollm2={INPUT_USD}/{OUTPUT_USD}", "WORDUP_ACCESS_KEY": "wu_owner"}
    variables |= {"OPENAI_API_KEY": "sk-none", "OPENAI_BASE_URL": f"{model}/v1"}
    with home.serving(tmp_path, **variables) as served:
        caller = Caller(served.url, "wu_owner")
        caller.http.timeout = 850
        whole = caller.ask(QUESTION).json()
        read, written = counted(model)
        *events, (last, streamed) = caller.events(QUESTION)
        today = caller.http.get("/v1/me/usage").json()["today"]
        caller.http.close()

    assert last == "done"
    assert whole["message"].strip()
    assert "".join(data["text"] for name, data in events if name == "delta") == streamed["message"] == whole["message"]
    cost = Decimal(read * INPUT_USD + written * OUTPUT_USD) / 1_000_000
    usage = {"input_tokens": read, "output_tokens": written}
    assert whole["usage"] == streamed["usage"]
    assert Decimal(whole["usage"].pop("cost_usd")) == cost
    assert whole["usage"] == usage
    assert counted(model) == (2 * read, 2 * written)
    assert (today["requests"], Decimal(today["cost_usd"])) == (2, 2 * cost)
