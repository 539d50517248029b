"""Time limits that hang together: the model's below API Gateway's, the streamed answer's below the function's."""

import math

from infra.spec import DeploymentSpec
from wordup.errors import ConfigurationError

# API Gateway ends a buffered call after this many:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
INTEGRATION_SECONDS = 29
# For a cold start, the reads before the model and the write after it.
MARGIN_SECONDS = 15


def check(spec: DeploymentSpec) -> None:
    """Raises ConfigurationError where a buffered answer may take longer than API Gateway waits."""
    if spec.bot.provider_timeout_seconds >= INTEGRATION_SECONDS:
        raise ConfigurationError(
            "bot.provider_timeout_seconds",
            f"API Gateway ends a call after {INTEGRATION_SECONDS} s, and bot.provider_timeout_seconds lets the model"
            f" take {spec.bot.provider_timeout_seconds:g}.",
            mend="Set it to 25 or less in wordup.toml.",
        )


def function_seconds(spec: DeploymentSpec) -> int:
    """The function's time-out."""
    return math.ceil(spec.bot.stream_timeout_seconds) + MARGIN_SECONDS
