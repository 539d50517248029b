"""Settings that must hang together, checked before anything is built: time limits, the model, names that need others.

A buffered answer's time is below that of a streamed one, and the function's own above both.
"""

import math
import re
from collections.abc import Iterator

from infra.spec import DeploymentSpec
from wordup.errors import ConfigurationError, RequestError
from wordup.models import Catalogue, Model

# API Gateway ends a buffered call after this many; one that streams may take 15 minutes, and be quiet for five:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
# https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode.html
BUFFERED_SECONDS = 29
# For a cold start, the reads before the model and the write after it.
MARGIN_SECONDS = 15
# Before the model's end: time to choose another, to try it and to deploy it.
WARNING_DAYS = 60
_ORIGIN = re.compile(r"https?://[^/*\s]+")


def check(spec: DeploymentSpec) -> None:
    """Raises ConfigurationError for the first setting that does not fit the others."""
    for setting, sentence, mend in _faults(spec):
        raise ConfigurationError(setting, sentence, mend=mend)
    model(spec)


def check_for_account(spec: DeploymentSpec) -> None:
    """What an account wants beside `check`. Raises ConfigurationError."""
    if spec.profile == "production" and not spec.aws.alarm_email:
        raise ConfigurationError(
            "aws.alarm_email",
            "Nobody would hear of an alarm: aws.alarm_email is empty.",
            mend="Set alarm_email under [aws] in wordup.toml.",
        )


def model(spec: DeploymentSpec) -> Model:
    """The model that answers. Raises ConfigurationError for an unknown or retired one, or one without a price."""
    try:
        return Catalogue.load(spec.bot.model_prices).resolve(spec.bot.model, spec.bot.provider)
    except RequestError as error:
        raise ConfigurationError(
            "bot.model", f"bot.model: {error.sentence}", mend="`wordup models` lists them."
        ) from None


def function_seconds(spec: DeploymentSpec) -> int:
    """The function's time-out."""
    return math.ceil(spec.bot.stream_timeout_seconds) + MARGIN_SECONDS


def _faults(spec: DeploymentSpec) -> Iterator[tuple[str, str, str]]:
    """The setting, what is wrong with it, and what mends it."""
    bot, aws = spec.bot, spec.aws
    if bot.stream_timeout_seconds <= bot.provider_timeout_seconds:
        yield (
            "bot.stream_timeout_seconds",
            "A streamed answer has no more time than a buffered one.",
            "Set bot.stream_timeout_seconds above bot.provider_timeout_seconds in wordup.toml.",
        )
    if bool(aws.domain) != bool(aws.certificate_arn):
        yield ("aws.domain", "A domain needs a certificate, and a certificate a domain.", "Set both, or neither.")
    if aws.certificate_arn and aws.certificate_arn.split(":")[3] != aws.region:
        yield (
            "aws.certificate_arn",
            f"The certificate is in {aws.certificate_arn.split(':')[3]}, the deployment in {aws.region}.",
            "Ask for one in the deployment's region.",
        )
    if aws.hosted_zone_id and not aws.domain:
        yield ("aws.hosted_zone_id", "A hosted zone is named, and no domain.", "Set aws.domain, or leave both out.")
    if bool(aws.subnet_ids) != bool(aws.security_group_ids):
        yield ("aws.subnet_ids", "Subnets need a security group, and that needs subnets.", "Set both, or neither.")
    for origin in filter(None, (part.strip() for part in bot.allowed_origins.split(","))):
        if not _ORIGIN.fullmatch(origin):
            yield (
                "bot.allowed_origins",
                f"{origin!r} is no origin that a browser names to this bot.",
                "An origin is `https://` and a host, without a path, a `*` or a slash at its end.",
            )
