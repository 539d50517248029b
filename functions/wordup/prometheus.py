"""The measures of `telemetry` as Prometheus reads them, counted in this process since it started.

Names and units are those of https://prometheus.io/docs/practices/naming/.
"""

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from wordup.telemetry import Measures

# Seconds, as https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/ advises for a model's operations.
BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
COUNTERS = {
    "Turns": ("wordup_turns", "Turns that were answered."),
    "InputTokens": ("wordup_input_tokens", "Tokens that the models read."),
    "OutputTokens": ("wordup_output_tokens", "Tokens that the models wrote."),
    "CostUSD": ("wordup_cost_usd", "What the models cost, in US dollars."),
    "Blocked": ("wordup_blocked", "Turns that were refused for their content."),
    "Limited": ("wordup_limited", "Turns that a user's own limit refused."),
    "EmbeddingsFailed": ("wordup_embeddings_failed", "Questions whose vector did not come."),
    "BudgetRefused": ("wordup_budget_refused", "Turns that the budget of the whole deployment refused."),
}
# Those that the bot measures in milliseconds.
HISTOGRAMS = {
    "TurnLatency": ("wordup_turn_duration_seconds", "From a turn's start to the end of its answer."),
    "TimeToFirstToken": ("wordup_time_to_first_token_seconds", "From a turn's start to its answer's first words."),
}
ERRORS = ("wordup_errors", "Turns that failed, by the error's code.")


class PrometheusMetrics:
    """Beside the measures: the process's own memory, processor time and open files."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._counters = {key: Counter(*about, registry=self._registry) for key, about in COUNTERS.items()}
        self._errors = Counter(*ERRORS, ["code"], registry=self._registry)
        self._histograms = {
            key: Histogram(*about, buckets=BUCKETS, registry=self._registry) for key, about in HISTOGRAMS.items()
        }

    def add(self, measures: Measures, code: str = "") -> None:
        for key, value in measures.items():
            if key in self._histograms:
                self._histograms[key].observe(value / 1000)
            elif key == "Errors":
                self._errors.labels(code).inc(value)
            else:
                self._counters[key].inc(value)

    def exposed(self, accept: str) -> tuple[bytes, str]:
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type
