"""`/metrics` of the bot at home: what Prometheus reads, and who may read it."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from tests.home import environment, serving, wordup
from tests.provider_server import ProviderServer, Reply
from tests.serving import KEY, Caller, served, settings
from wordup.config import Settings
from wordup.prometheus import COUNTERS, ERRORS, HISTOGRAMS

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"
OWNER = {"authorization": f"Bearer {KEY}"}
QUESTION = "What is AWS Lambda?"


def asking(home: Path, provider: ProviderServer, **fields: Any) -> Settings:
    """The settings of a bot whose model is the stand-in."""
    return settings(home, provider="openai", openai_api_key="sk-test", openai_base_url=provider.url, **fields)


def samples(url: str, key: str = KEY) -> dict[str, float]:
    """What a scrape gives by `name` or `name{code}`, read by Prometheus's own parser."""
    answer = httpx2.get(f"{url}/metrics", headers={"authorization": f"Bearer {key}"})
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    return {f"{s.name}{{{s.labels['code']}}}" if "code" in s.labels else s.name: s.value for s in found}


def test_turns_are_counted_with_their_tokens_times_and_cost(home: Path):
    usage = {"prompt_tokens": 1000, "completion_tokens": 20, "total_tokens": 1020}
    with (
        ProviderServer(Reply(deltas=("one", "two"), usage=usage)) as provider,
        served(asking(home, provider)) as url,
    ):
        caller = Caller(url)
        costs = [float(caller.ask(QUESTION).json()["usage"]["cost_usd"]) for _ in range(3)]
        found = samples(url)
    assert found["wordup_turns_total"] == 3
    assert (found["wordup_input_tokens_total"], found["wordup_output_tokens_total"]) == (3000, 60)
    assert abs(found["wordup_cost_usd_total"] - sum(costs)) < 1e-9 < sum(costs)
    assert found["wordup_turn_duration_seconds_count"] == found["wordup_time_to_first_token_seconds_count"] == 3
    assert 0 < found["wordup_time_to_first_token_seconds_sum"] <= found["wordup_turn_duration_seconds_sum"]
    assert found["process_resident_memory_bytes"] > 0


def test_errors_are_counted_by_their_code_and_a_users_limit_apart(home: Path):
    with ProviderServer() as provider:
        provider.script(Reply(status=401, code="invalid_api_key"))
        with served(asking(home, provider, rate_limit_per_minute=2), clock=lambda: 1_800_000_000.0) as url:
            caller = Caller(url)
            codes = [caller.ask(QUESTION).json().get("code") for _ in range(3)]
            found = samples(url)
    assert codes == ["provider_error", None, "rate_limited"]
    assert (found["wordup_errors_total{provider_error}"], found["wordup_limited_total"]) == (1, 1)
    assert (found["wordup_turns_total"], found["wordup_blocked_total"]) == (1, 0)


def test_what_the_deployments_budget_refuses_is_counted(home: Path):
    with ProviderServer() as provider, served(asking(home, provider, deployment_daily_usd=0.000001)) as url:
        assert Caller(url).ask(QUESTION).json()["code"] == "budget_exceeded"
        found = samples(url)
    assert (found["wordup_budget_refused_total"], found["wordup_turns_total"]) == (1, 0)


def test_metrics_are_the_owners_alone(tmp_path: Path):
    with serving(tmp_path) as home:
        guest = wordup(tmp_path, "user", "add", "guest").stdout.split()[-1]
        asked = {key: httpx2.get(f"{home.url}/metrics", headers={"x-api-key": key}) for key in (guest, "wu_wrong")}
        nobody = httpx2.get(f"{home.url}/metrics")
        assert samples(home.url, home.first_key)["wordup_turns_total"] == 0
    assert (asked[guest].status_code, asked[guest].json()["code"]) == (404, "not_found")
    assert (asked["wu_wrong"].status_code, nobody.status_code) == (403, 401)


def test_open_mode_asks_no_key_for_them(home: Path):
    with served(settings(home, auth="open", access_key="")) as url:
        assert b"wordup_turns_total 0.0" in httpx2.get(f"{url}/metrics").content


def test_document_names_every_metric():
    table = DOCUMENT.read_text().partition("| CloudWatch's name |")[2].partition("\n\n")[0]
    rows = {name: row for row in table.splitlines() for name in re.findall(r"`(wordup_\w+)", row)}
    counters = {f"{name}_total": key for key, (name, _) in (COUNTERS | {"Errors": ERRORS}).items()}
    histograms = {name: key for key, (name, _) in HISTOGRAMS.items()}
    assert rows.keys() == counters.keys() | histograms.keys()
    assert [name for name, key in (counters | histograms).items() if f"`{key}`" not in rows[name]] == []


def test_metrics_that_are_off_are_not_there_and_cost_no_import(home: Path):
    with served(settings(home, metrics="log")) as url:
        assert httpx2.get(f"{url}/metrics", headers=OWNER).status_code == 404
    program = (
        "import sys; from wordup.app import create_app; from wordup.bootstrap import build;"
        "from wordup.config import Settings; create_app(build(Settings.from_env()));"
        "assert 'starlette' in sys.modules; assert 'prometheus_client' not in sys.modules"
    )
    variables = {"WORDUP_STORE": "dynamodb", "WORDUP_SIGNING_KEY_REF": "aws:wordup#signing"}
    subprocess.run([sys.executable, "-c", program], env=environment(home, **variables), check=True)
