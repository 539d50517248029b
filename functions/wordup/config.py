"""Settings: every environment variable the bot reads, typed and bounded. The only reader of os.environ.

`docs/settings.md` is generated from the descriptions here; a test compares them, and another checks that every
infrastructure program passes every field on. A variable that begins with WORDUP_ and is no field is refused.
"""

import os
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from wordup.errors import ConfigurationError

PREFIX = "WORDUP_"
# The names that the openai package itself gives these two.
ALIASES = {"openai_api_key": "OPENAI_API_KEY", "openai_base_url": "OPENAI_BASE_URL"}

MicroUSD = int
Count = Annotated[int, Meta(ge=1)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One field, one variable: `retention_days` is WORDUP_RETENTION_DAYS. Money is micro-dollars inside."""

    store: Annotated[str, Meta(description="Where conversations live.")] = "sqlite"  # bootstrap knows which there are
    table: Annotated[
        str,
        Meta(description="The table (DynamoDB, Table Storage) or database (Firestore) of the store.", min_length=1),
    ] = "wordup"
    store_endpoint: Annotated[
        str,
        Meta(description="The account's table URL on Azure, the project on Google Cloud; empty: the SDK's default."),
    ] = ""
    data_dir: Annotated[
        str, Meta(description="The self-hosted home's folder: database, signing key.", min_length=1)
    ] = "data"
    knowledge_dir: Annotated[
        str, Meta(description="The folder of Markdown that answers come from; empty: the one that ships.")
    ] = ""
    provider: Annotated[
        Literal["", "offline", "openai", "azure_openai", "bedrock", "vertex"],
        Meta(description="Who answers; empty: openai where OPENAI_API_KEY is set, else offline."),
    ] = ""
    model: Annotated[
        str, Meta(description="The model's id in the catalogue, `provider:model`; empty: the provider's default.")
    ] = ""
    model_prices: Annotated[
        str,
        Meta(
            description="Prices of models that the catalogue lacks, as `provider:model=input/output` in US dollars a"
            " million tokens, separated by commas."
        ),
    ] = ""
    embeddings: Annotated[
        str,
        Meta(
            description="The model, `provider:model`, by whose vectors passages are also found; empty: by words alone.",
            pattern="^(openai:.+)?$",
        ),
    ] = ""
    embedding_timeout_seconds: Annotated[
        float,
        Meta(description="For a question's vector; where none came by then, by words alone.", gt=0, le=30),
    ] = 1.0
    openai_api_key: Annotated[str, Meta(description="The provider's key, at home only; elsewhere a reference.")] = ""
    openai_base_url: Annotated[str, Meta(description="An OpenAI-compatible server; empty: OpenAI's own.")] = ""
    provider_key_ref: Annotated[str, Meta(description="A reference to the provider's key.")] = ""
    signing_key_ref: Annotated[
        str, Meta(description="A reference to the keys that sign session tokens; empty: a file in the data folder.")
    ] = ""
    auth: Annotated[
        Literal["key", "oidc", "open"],
        Meta(description="Who may ask: holders of an access key, of an issuer's token, or anyone on loopback."),
    ] = "key"
    access_key: Annotated[str, Meta(description="The owner's access key, at home only.")] = ""
    session_minutes: Annotated[int, Meta(description="How long a session token lives, in minutes.", ge=1, le=1440)] = 60
    oidc_issuer: Annotated[
        str, Meta(description="The issuer whose tokens are taken in `oidc` mode: its address, as its tokens write it.")
    ] = ""
    oidc_audience: Annotated[str, Meta(description="The audience that those tokens must name.")] = ""
    oidc_client_id: Annotated[
        str, Meta(description="The public client that the chat page signs in as, by PKCE; empty: it cannot.")
    ] = ""
    oidc_scopes: Annotated[str, Meta(description="What the chat page asks the issuer for, separated by spaces.")] = (
        "openid"
    )
    sign_ins_per_minute: Annotated[
        Count,
        Meta(description="Sessions opened and wrong access keys tried, a minute and network address.", le=100_000),
    ] = 30
    trusted_proxies: Annotated[
        int,
        Meta(
            description="Proxies of yours in front of the bot that append to X-Forwarded-For, from which the caller's"
            " address is then taken; nobody may reach the bot around them.",
            ge=0,
            le=10,
        ),
    ] = 0
    response_mode: Annotated[
        Literal["stream", "buffer"],
        Meta(description="How a Lambda function answers: in pieces, as a STREAM integration takes it, or whole."),
    ] = "stream"
    allowed_origins: Annotated[
        str, Meta(description="Origins of other sites that may call from a browser, separated by commas; empty: none.")
    ] = ""
    message_characters: Annotated[Count, Meta(description="The longest message, in characters.", le=200_000)] = 16_000
    body_bytes: Annotated[Count, Meta(description="The largest request body, in bytes.", le=10_485_760)] = 1_048_576
    history_tokens: Annotated[
        int, Meta(description="How much of the conversation the model sees again, in tokens.", ge=0, le=1_000_000)
    ] = 6_000
    answer_tokens: Annotated[Count, Meta(description="The longest answer, in tokens.", le=32_000)] = 1_000
    rate_limit_per_minute: Annotated[Count, Meta(description="Turns a minute and user.", le=100_000)] = 30
    user_daily_usd: Annotated[float, Meta(description="US dollars a day (UTC) and user.", ge=0, le=1e6)] = 0.50
    deployment_daily_usd: Annotated[float, Meta(description="US dollars a day (UTC), all users.", ge=0, le=1e6)] = 20.0
    provider_timeout_seconds: Annotated[float, Meta(description="For a whole buffered answer.", gt=0, le=880)] = 25.0
    stream_timeout_seconds: Annotated[float, Meta(description="For a whole streamed answer.", gt=0, le=880)] = 120.0
    lease_seconds: Annotated[
        int,
        Meta(
            description="After this long a turn that was never finished gives back its reservation and its"
            " Idempotency-Key; above both time-outs.",
            ge=1,
            le=3600,
        ),
    ] = 180
    retention_days: Annotated[Count, Meta(description="How long a turn is kept, in days.", le=3650)] = 30
    metrics: Annotated[
        Literal["", "log", "emf", "prometheus"],
        Meta(
            description="How turns are counted: `log`, in their lines of the log; `emf`, there and for CloudWatch;"
            " `prometheus`, there and at /metrics, for the owner. Empty: `prometheus` with SQLite, else `log`."
        ),
    ] = ""
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="The least level that is logged.")
    ] = "INFO"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Reads the environment. Raises ConfigurationError naming the variable that is unknown or wrong."""
        environ = os.environ if environ is None else environ
        variables = {variable(field): field for field in cls.__struct_fields__}
        for name in environ:
            if name.startswith(PREFIX) and name not in variables:
                raise ConfigurationError(name, f"{name} is no setting.", mend="docs/settings.md lists the settings.")
        values = {field: environ[name] for name, field in variables.items() if environ.get(name)}
        return cls.parse(values)

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> "Settings":
        """From field names to values, text taken for numbers. Raises ConfigurationError."""
        try:
            settings = msgspec.convert(dict(values), cls, strict=False)
        except msgspec.ValidationError as error:
            sentence, _, path = str(error).partition(" - at `$.")
            name = variable(path.rstrip("`")) if path else "the settings"
            raise ConfigurationError(name, f"{name}: {sentence}.") from None
        return settings._checked()

    def _checked(self) -> "Settings":
        before = self.embedding_timeout_seconds if self.embeddings else 0.0
        if self.lease_seconds <= before + max(self.stream_timeout_seconds, self.provider_timeout_seconds):
            raise ConfigurationError("WORDUP_LEASE_SECONDS", "The lease is not longer than the provider's time-outs.")
        if self.auth == "oidc" and not (self.oidc_issuer and self.oidc_audience):
            raise ConfigurationError("WORDUP_OIDC_ISSUER", "The oidc mode needs an issuer and an audience.")
        if self.oidc_issuer and not is_protected(self.oidc_issuer):
            raise ConfigurationError("WORDUP_OIDC_ISSUER", "The issuer's address does not begin with https://.")
        provider = self.provider or ("openai" if self.openai_api_key else "offline")
        metrics = self.metrics or ("prometheus" if self.store == "sqlite" else "log")
        return msgspec.structs.replace(self, provider=provider, metrics=metrics)

    @property
    def user_daily_micros(self) -> MicroUSD:
        return round(self.user_daily_usd * 1_000_000)

    @property
    def deployment_daily_micros(self) -> MicroUSD:
        return round(self.deployment_daily_usd * 1_000_000)


def is_protected(url: str) -> bool:
    """Whether nobody on the way can change what is read there: it has TLS, or is on this machine."""
    try:
        split = urlsplit(url)
    except ValueError:
        return False
    local = split.hostname in ("127.0.0.1", "localhost", "::1")
    return bool(split.hostname) and (split.scheme == "https" or (split.scheme == "http" and local))


class LambdaEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """What Lambda tells a runtime. `runtime_api` is `host:port`; `initialization_type` is snap-start where it takes a
    snapshot. https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html"""

    runtime_api: str
    initialization_type: str = ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "LambdaEnvironment":
        """Raises ConfigurationError outside of Lambda."""
        environ = os.environ if environ is None else environ
        if not (address := environ.get("AWS_LAMBDA_RUNTIME_API")):
            raise ConfigurationError(
                "AWS_LAMBDA_RUNTIME_API", "This runs on Lambda.", mend="To serve from here, run `wordup serve`."
            )
        return cls(runtime_api=address, initialization_type=environ.get("AWS_LAMBDA_INITIALIZATION_TYPE", ""))


def variable(field: str) -> str:
    """The environment variable of a field of Settings."""
    return ALIASES.get(field, PREFIX + field.upper())
