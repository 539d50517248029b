"""Whether an account of AWS can be deployed to: the settings, the tools, the credentials, the region, the quotas, the
model, and whether the names are free."""

import difflib
import json
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import botocore.session
from botocore.exceptions import ClientError

from infra.aws import cdk, limits, names
from infra.aws.deployment import on_account
from infra.aws.errors import code, translated
from infra.aws.inventory import Client, present, stack_named
from infra.checks import Check, asked
from infra.errors import DeploymentError
from infra.spec import ROOT, DeploymentSpec

# Lambda leaves so many to the functions that reserve none:
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
LEFT_TO_OTHERS = 100
_QUOTA = "https://console.aws.amazon.com/servicequotas/home/services/lambda/quotas/L-B99A9384"
# Which stack makes what, by the inventory's words.
_MAKER: dict[str, Callable[[DeploymentSpec], str]] = {
    "table": names.data_stack,
    "secret": names.data_stack,
    "log group": names.data_stack,
    "function": names.api_stack,
    "API": names.api_stack,
    "alarm": names.operations_stack,
    "dashboard": names.operations_stack,
    "topic": names.operations_stack,
}


def checks(spec: DeploymentSpec) -> Iterator[Check]:
    """A check that needs one before it, which failed, is left out."""
    yield asked("settings", lambda: _settings(spec))
    yield asked("model", lambda: _model(spec))
    yield asked("CDK", _cdk)
    region = asked("region", lambda: _region(spec))
    yield region
    if not region.ok:
        return
    client = on_account(spec).client
    credentials = _asked("credentials", lambda: client("sts").get_caller_identity()["Arn"])
    yield credentials
    if not credentials.ok:
        return
    yield _asked("concurrency", lambda: _concurrency(client, spec))
    yield _asked("API rate", lambda: _rate(client, spec))
    yield _asked("names", lambda: _names(client, spec))
    yield _asked("provider's key", lambda: _provider_key(client, spec))
    if spec.aws.domain:
        yield _asked("certificate", lambda: _certificate(client, spec))


def _asked(name: str, question: Callable[[], str]) -> Check:
    """As `infra.checks.asked`, with botocore's errors in our words."""

    def translating() -> str:
        with translated():
            return question()

    return asked(name, translating)


def _settings(spec: DeploymentSpec) -> str:
    limits.check(spec)
    limits.check_for_account(spec)
    return f"{spec.profile}, fit each other"


def _model(spec: DeploymentSpec) -> str:
    model = limits.model(spec)
    if model.shutdown is None:
        return f"{model.id}, no end is announced"
    days = (model.shutdown - date.today()).days  # noqa: DTZ011 - a day more or less is no matter
    told = f"{model.id} ends on {model.shutdown}, in {days} days"
    if days < limits.WARNING_DAYS:
        successor = f" Its provider names {model.successor}." if model.successor else ""
        raise DeploymentError(f"{told}.", mend=f"Set model under [bot] in wordup.toml.{successor}")
    return told


def _cdk() -> str:
    wanted = json.loads((ROOT / "package.json").read_text("utf-8"))["dependencies"]["aws-cdk"]
    found = cdk.version()
    if found != wanted:
        raise DeploymentError(f"The CDK's command line is {found}, and {wanted} is locked.", mend="Run `make setup`.")
    return found


def _region(spec: DeploymentSpec) -> str:
    session = botocore.session.Session()
    partitions = session.get_available_partitions()
    known = [name for each in partitions for name in session.get_available_regions("lambda", each)]
    if spec.aws.region not in known:
        near = difflib.get_close_matches(spec.aws.region, known, n=3)
        raise DeploymentError(
            f"AWS has no Lambda in {spec.aws.region}.",
            mend=f"Set region under [aws] in wordup.toml{': ' + ', '.join(near) if near else ''}.",
        )
    return spec.aws.region


def _concurrency(client: Client, spec: DeploymentSpec) -> str:
    lambda_ = client("lambda")
    limit = lambda_.get_account_settings()["AccountLimit"]
    free, wanted = limit["UnreservedConcurrentExecutions"], 0
    if spec.profile == "production":
        wanted = spec.aws.reserved_concurrency
        free += _reserved_already(lambda_, spec)
    told = f"{limit['ConcurrentExecutions']} in the account, {free} of them free, {wanted} for this function"
    if wanted and free - wanted < LEFT_TO_OTHERS:
        raise DeploymentError(
            f"{told}; Lambda wants {LEFT_TO_OTHERS} left.",
            mend=f"Lower reserved_concurrency under [aws] in wordup.toml (0 reserves none), or ask for more: {_QUOTA}",
        )
    return told


def _reserved_already(lambda_: Any, spec: DeploymentSpec) -> int:
    try:
        found = lambda_.get_function_concurrency(FunctionName=names.function(spec))
    except ClientError as error:
        if code(error) != "ResourceNotFoundException":
            raise
        return 0
    return found.get("ReservedConcurrentExecutions", 0)


def _rate(client: Client, spec: DeploymentSpec) -> str:
    limit = client("apigateway").get_account()["throttleSettings"]
    told = f"{limit['rateLimit']:g} a second in the account, {spec.aws.requests_per_second} for this API"
    if spec.aws.requests_per_second > limit["rateLimit"] or spec.aws.request_burst > limit["burstLimit"]:
        raise DeploymentError(
            f"{told}; {limit['burstLimit']} and {spec.aws.request_burst} at once.",
            mend="Lower requests_per_second and request_burst under [aws] in wordup.toml.",
        )
    return told


def _names(client: Client, spec: DeploymentSpec) -> str:
    """Whatever has a name of ours belongs to a stack of ours, and the secret's name does not wait to be free."""
    stacks = [stack for stack in names.stacks(spec) if stack_named(client, stack)]
    taken = [
        there
        for there in present(client, spec, is_account=False)
        for kind, maker in _MAKER.items()
        if there.startswith(f"{kind} ") and maker(spec) not in stacks
    ]
    if taken:
        raise DeploymentError(
            f"Not of this deployment, but under its names: {', '.join(taken)}.",
            mend="Choose another --name, or remove what is there.",
        )
    if _waits_for_deletion(client, spec):
        secret = names.secret(spec)
        raise DeploymentError(
            f"The secret {secret} waits for its deletion and keeps the name as long.",
            mend=f"aws secretsmanager delete-secret --secret-id {secret} --force-delete-without-recovery",
        )
    return f"{spec.name} is deployed" if stacks else f"{spec.name} is free"


def _waits_for_deletion(client: Client, spec: DeploymentSpec) -> bool:
    try:
        return "DeletedDate" in client("secretsmanager").describe_secret(SecretId=names.secret(spec))
    except ClientError as error:
        if code(error) != "ResourceNotFoundException":
            raise
        return False


def _provider_key(client: Client, spec: DeploymentSpec) -> str:
    if spec.bot.provider == "offline" and not spec.bot.embeddings:
        return "the offline model needs none"
    try:
        text = client("secretsmanager").get_secret_value(SecretId=names.secret(spec)).get("SecretString", "")
    except ClientError as error:
        if code(error) != "ResourceNotFoundException":
            raise
        return "to be given once the first deployment has made the secret"
    if not text or not json.loads(text).get("provider_key"):
        raise DeploymentError(
            f"The secret {names.secret(spec)} has no key for {spec.bot.provider}.",
            mend="`wordup secret set provider_key --to aws`",
        )
    return f"in the secret {names.secret(spec)}"


def _certificate(client: Client, spec: DeploymentSpec) -> str:
    found = client("acm").describe_certificate(CertificateArn=spec.aws.certificate_arn)["Certificate"]
    covered = {found["DomainName"], *found.get("SubjectAlternativeNames", [])}
    if found["Status"] != "ISSUED":
        raise DeploymentError(f"The certificate is {found['Status']}.", mend="Validate it in ACM, by its DNS record.")
    if not covered & {spec.aws.domain, f"*.{spec.aws.domain.partition('.')[2]}"}:
        raise DeploymentError(
            f"The certificate is for {', '.join(sorted(covered))}.", mend=f"Ask ACM for one for {spec.aws.domain}."
        )
    return f"for {', '.join(sorted(covered))}"
