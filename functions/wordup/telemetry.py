"""What operators watch: a line of the log for every turn, which on AWS carries CloudWatch's metrics with it.

What was asked of the model goes by OpenTelemetry's names (https://opentelemetry.io/docs/specs/semconv/gen-ai/). The
metrics are in the Embedded Metric Format, so that a function counts by what it prints and calls nobody
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html);
`infra/aws/operations.py` has the alarms on them. No text, no token, nobody's name.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from wordup import logs
from wordup.config import Settings
from wordup.errors import BudgetExceeded, RateLimited, RequestError, WordUpError

NAMESPACE = "WordUpBot"
DEPLOYMENT = "Deployment"
UNITS = {"TurnLatency": "Milliseconds", "TimeToFirstToken": "Milliseconds", "CostUSD": "None"}

Metrics = dict[str, float]


class Telemetry:
    """Counts for the deployment that the settings name: on AWS a table has its name."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
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
        metrics: Metrics = {
            "Turns": 1,
            "TurnLatency": round(seconds * 1000, 1),
            "InputTokens": input_tokens,
            "OutputTokens": output_tokens,
            "CostUSD": micros / 1_000_000,
        }
        if first_seconds is not None:
            metrics["TimeToFirstToken"] = round(first_seconds * 1000, 1)
        fields: dict[str, Any] = {
            "turn": turn,
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": name,
            "gen_ai.response.finish_reasons": [finish_reason],
            "gen_ai.usage.input_tokens": input_tokens,
            "gen_ai.usage.output_tokens": output_tokens,
        }
        self._write(logging.INFO, "turn", fields, metrics)

    def failed(self, turn: str, error: BaseException) -> None:
        """A turn that came to nothing. What the caller did wrong is no error of ours."""
        code = error.code if isinstance(error, WordUpError) else type(error).__name__
        fields = {"turn": turn, "error.type": code}
        if isinstance(error, BudgetExceeded):
            self._write(logging.WARNING, "turn_failed", fields, {"BudgetRefused": 1})
        elif isinstance(error, RequestError):
            self._write(logging.INFO, "turn_failed", fields, {})
        else:
            self._write(logging.WARNING, "turn_failed", fields, {"Errors": 1}, Code=code)

    def limited(self, error: RateLimited | BudgetExceeded) -> None:
        """A turn that a user's own limit refused."""
        self._write(logging.INFO, "limited", {"error.type": error.code}, {"Limited": 1})

    def _write(self, level: int, event: str, fields: dict[str, Any], metrics: Metrics, **dimensions: str) -> None:
        if not self._deployment or not metrics:
            logs.write(level, event, fields=fields | metrics)
            return
        by = [[DEPLOYMENT], [DEPLOYMENT, *dimensions]] if dimensions else [[DEPLOYMENT]]
        units = [{"Name": name, "Unit": UNITS.get(name, "Count")} for name in metrics]
        directive = {"Namespace": NAMESPACE, "Dimensions": by, "Metrics": units}
        about = {"Timestamp": int(self._clock() * 1000), "CloudWatchMetrics": [directive]}
        named = {DEPLOYMENT: self._deployment, **dimensions, **metrics}
        logs.write(level, event, fields={**fields, **named, "_aws": about})
