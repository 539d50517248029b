import json
import logging
import re
from typing import Any

import pytest

from infra.aws import names
from infra.spec import ROOT
from wordup import logs, telemetry
from wordup.config import Settings
from wordup.errors import BudgetExceeded, ContentBlocked, NotFound, ProviderBusy, RateLimited
from wordup.prometheus import COUNTERS, HISTOGRAMS, PrometheusMetrics
from wordup.telemetry import Telemetry

NOW = 1_800_000_000.5
TURN: dict[str, Any] = {
    "turn": "01J",
    "model": "openai:gpt-5-mini",
    "seconds": 2.0,
    "first_seconds": 0.25,
    "finish_reason": "stop",
    "input_tokens": 100,
    "output_tokens": 20,
    "micros": 65,
}


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(logs.JSONFormatter().format(record)))

    logger = logging.getLogger(logs.LOGGER)
    monkeypatch.setattr(logger, "handlers", [Kept()])
    monkeypatch.setattr(logger, "level", logging.INFO)
    return found


def on_aws() -> Telemetry:
    return Telemetry(Settings(metrics="emf", table="helpdesk"), clock=lambda: NOW)


def test_answered_turn_has_opentelemetrys_names(lines: list[dict[str, Any]]):
    Telemetry(Settings()).answered(**TURN)
    [line] = lines
    assert line["gen_ai.provider.name"] == "openai"
    assert line["gen_ai.request.model"] == "gpt-5-mini"
    assert line["gen_ai.response.finish_reasons"] == ["stop"]
    assert (line["gen_ai.usage.input_tokens"], line["gen_ai.usage.output_tokens"]) == (100, 20)
    assert (line["TurnLatency"], line["TimeToFirstToken"], line["CostUSD"]) == (2000, 250, 0.000065)
    assert "_aws" not in line


def test_every_metric_stands_in_the_line_that_declares_it(lines: list[dict[str, Any]]):
    found = on_aws()
    found.answered(**TURN)
    found.failed("01J", ProviderBusy())
    found.failed("01J", BudgetExceeded())
    found.limited(RateLimited())
    for line in lines:
        assert line["_aws"]["Timestamp"] == int(NOW * 1000)
        [directive] = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == names.METRICS
        for metric in directive["Metrics"]:
            assert isinstance(line[metric["Name"]], int | float)
        for dimensions in directive["Dimensions"]:
            assert all(isinstance(line[dimension], str) for dimension in dimensions)
        assert line[names.DEPLOYMENT_DIMENSION] == "helpdesk"
    assert lines[1]["Code"] == "provider_busy"


def everything(found: Telemetry) -> None:
    """All that can be counted, once."""
    found.answered(**TURN)
    for error in (ProviderBusy(), BudgetExceeded(), ContentBlocked("hate")):
        found.failed("01J", error)
    found.limited(RateLimited())
    found.unembedded("provider_timeout")


def test_metric_that_an_alarm_or_the_dashboard_reads_is_one_that_is_written(lines: list[dict[str, Any]]):
    everything(on_aws())
    written = {metric["Name"] for line in lines for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    source = (ROOT / "infra" / "aws" / "operations.py").read_text()
    read = {part.split('"')[1] for part in source.split(".bot(")[1:] if part.startswith('"')}
    assert read == written
    assert (telemetry.NAMESPACE, telemetry.DEPLOYMENT) == (names.METRICS, names.DEPLOYMENT_DIMENSION)


def test_prometheus_reads_what_cloudwatch_does(lines: list[dict[str, Any]]):
    """Each of it once: no measure is without its name there, and no name without its measure."""
    metrics = PrometheusMetrics()
    everything(Telemetry(Settings(), metrics))
    everything(on_aws())
    text = metrics.exposed("")[0].decode()
    counted = dict(re.findall(r"^(wordup_\w+_(?:total|count))\S* (\S+)$", text, re.MULTILINE))
    written = {
        metric["Name"] for line in lines if "_aws" in line for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    }
    assert written == {*COUNTERS, *HISTOGRAMS, "Errors"}
    assert len(counted) == len(written)
    assert "0.0" not in counted.values()
    assert 'wordup_errors_total{code="provider_busy"} 1.0' in text


def test_what_a_caller_did_wrong_is_no_error_of_ours(lines: list[dict[str, Any]]):
    on_aws().failed("01J", NotFound())
    [line] = lines
    assert line["error.type"] == "not_found"
    assert "_aws" not in line


def test_line_of_a_served_request_says_which(lines: list[dict[str, Any]]):
    token = logs.SERVED.set({"request_id": "01R", "trace_id": "1-5759e988-bd862e3fe1be46a994272793"})
    Telemetry(Settings()).answered(**TURN)
    logs.SERVED.reset(token)
    assert (lines[0]["request_id"], lines[0]["trace_id"]) == ("01R", "1-5759e988-bd862e3fe1be46a994272793")
