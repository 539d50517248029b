"""What operators watch: a line of the log for every turn, which on AWS carries CloudWatch's metrics with it; at home
the same measures are counted for Prometheus.

What was asked of the model goes by OpenTelemetry's names (https://opentelemetry.io/docs/specs/semconv/gen-ai/). The
metrics are in the Embedded Metric Format, so that a function counts by what it prints and calls nobody
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html);
`infra/aws/operations.py` has the alarms on them. No text, no token, nobody's name.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from wordup import logs
from wordup.config import Settings
from wordup.errors import BudgetExceeded, ContentBlocked, RateLimited, RequestError, WordUpError

NAMESPACE = "WordUpBot"
DEPLOYMENT, CODE = "Deployment", "Code"
UNITS = {"TurnLatency": "Milliseconds", "TimeToFirstToken": "Milliseconds", "CostUSD": "None"}

Measures = dict[str, float]


class Metrics(Protocol):
    """Counts in this process."""

    def add(self, measures: Measures, code: str = "") -> None:
        """`code` is that of an error."""
        ...

    def exposed(self, accept: str) -> tuple[bytes, str]:
        """All of it, and its media type, in the format that suits the request's Accept header."""
        ...


class Telemetry:
    """Counts for the deployment that the settings name, on AWS by its table, and into `metrics`."""

    def __init__(
        self, settings: Settings, metrics: Metrics | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._metrics = metrics
        self._deployment = settings.table if settings.metrics == "emf" else ""
        self._clock = clock

    def answered(
        self,
        *,
        turn: str,
        model: str,
        seconds: float,
        first_seconds: float | None,
        finish_reason: str,
        input_tokens: int,
        output_tokens: int,
        micros: int,
    ) -> None:
        """`model` is a catalogue's id, `provider:model`; `seconds` are the whole turn's, `first_seconds` those until
        its first words, None where there were none; `micros` is the cost in micro-dollars."""
        provider, _, name = model.partition(":")
        measures: Measures = {
            "Turns": 1,
            "TurnLatency": round(seconds * 1000, 1),
            "InputTokens": input_tokens,
            "OutputTokens": output_tokens,
            "CostUSD": micros / 1_000_000,
        }
        if first_seconds is not None:
            measures["TimeToFirstToken"] = round(first_seconds * 1000, 1)
        fields: dict[str, Any] = {
            "turn": turn,
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": name,
            "gen_ai.response.finish_reasons": [finish_reason],
            "gen_ai.usage.input_tokens": input_tokens,
            "gen_ai.usage.output_tokens": output_tokens,
        }
        self._write(logging.INFO, "turn", fields, measures)

    def failed(self, turn: str, error: BaseException) -> None:
        """A turn that came to nothing. What the caller did wrong is no error of ours."""
        code = error.code if isinstance(error, WordUpError) else type(error).__name__
        fields = {"turn": turn, "error.type": code}
        if isinstance(error, BudgetExceeded):
            self._write(logging.WARNING, "turn_failed", fields, {"BudgetRefused": 1})
        elif isinstance(error, ContentBlocked):
            self._write(logging.INFO, "turn_failed", fields, {"Blocked": 1})
        elif isinstance(error, RequestError):
            self._write(logging.INFO, "turn_failed", fields, {})
        else:
            self._write(logging.WARNING, "turn_failed", fields, {"Errors": 1}, code)

    def limited(self, error: RateLimited | BudgetExceeded) -> None:
        """A turn that a user's own limit refused."""
        self._write(logging.INFO, "limited", {"error.type": error.code}, {"Limited": 1})

    def unembedded(self, code: str) -> None:
        """A question whose vector did not come, by the error's code: it was looked up by its words alone."""
        self._write(logging.WARNING, "embeddings_failed", {"error.type": code}, {"EmbeddingsFailed": 1})

    def _write(self, level: int, event: str, fields: dict[str, Any], measures: Measures, code: str = "") -> None:
        if self._metrics is not None:
            self._metrics.add(measures, code)
        if not self._deployment or not measures:
            logs.write(level, event, fields=fields | measures)
            return
        dimensions = {CODE: code} if code else {}
        by = [[DEPLOYMENT], [DEPLOYMENT, *dimensions]] if dimensions else [[DEPLOYMENT]]
        units = [{"Name": name, "Unit": UNITS.get(name, "Count")} for name in measures]
        directive = {"Namespace": NAMESPACE, "Dimensions": by, "Metrics": units}
        about = {"Timestamp": int(self._clock() * 1000), "CloudWatchMetrics": [directive]}
        named = {DEPLOYMENT: self._deployment, **dimensions, **measures}
        logs.write(level, event, fields={**fields, **named, "_aws": about})
