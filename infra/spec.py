"""wordup.toml: what to deploy, the same file for every cloud, read into one typed DeploymentSpec.

`docs/wordup-toml.md` is generated from the descriptions here and in `wordup.config.Settings`; a test compares them.
A key that nobody reads, a wrong type or a value out of range raises ConfigurationError with the key's dotted path.
"""

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from infra import inference
from infra.inference import Inference
from wordup.config import Settings, variable
from wordup.errors import ConfigurationError

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "wordup.toml"

Cloud = Literal["aws", "gcp", "azure"]
Profile = Literal["dev", "production"]

# Fields of Settings that no deployment sets, each with its reason.
HOME_ONLY = {
    "data_dir": "a function has no disk that lasts",
    "knowledge_dir": "the package carries its knowledge, and only that",
    "openai_api_key": "a secret in an environment variable; deployments read provider_key_ref",
    "access_key": "a secret in an environment variable; deployments keep hashed keys in the store",
}
# Fields that follow from the cloud and the deployment's name, so that nobody types them.
DECIDED = frozenset(
    {"store", "table", "store_endpoint", "signing_key_ref", "provider_key_ref", "response_mode", "metrics"}
)
OPERATOR = tuple(f for f in Settings.__struct_fields__ if f not in DECIDED and f not in HOME_ONLY)


class AWS(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    region: Annotated[str, Meta(description="The region of every resource.", pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")] = (
        "us-east-1"
    )
    memory_mb: Annotated[
        int,
        Meta(
            description="The function's memory in MiB; its share of a processor grows with it, one whole at 1,769.",
            ge=256,
            le=10_240,
        ),
    ] = 1024
    reserved_concurrency: Annotated[
        int,
        Meta(
            description="Requests that the function serves at a time at most in `production`, set aside for it from the"
            " account's limit; 0: none is, and that limit holds.",
            ge=0,
            le=10_000,
        ),
    ] = 50
    rollout: Annotated[
        Literal[
            "AllAtOnce",
            "Canary10Percent5Minutes",
            "Canary10Percent15Minutes",
            "Canary10Percent30Minutes",
            "Linear10PercentEvery1Minute",
            "Linear10PercentEvery3Minutes",
        ],
        Meta(
            description="How a new version takes over in `production`, in CodeDeploy's words; an alarm takes it back."
        ),
    ] = "Canary10Percent5Minutes"
    requests_per_second: Annotated[
        int, Meta(description="Requests a second that the API takes from everyone together.", ge=1, le=10_000)
    ] = 50
    request_burst: Annotated[
        int, Meta(description="Requests that it takes at once before that rate applies.", ge=1, le=5_000)
    ] = 100
    log_retention_days: Annotated[
        Literal[
            1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
        ],
        Meta(description="How long logs are kept, in days: one of the periods that CloudWatch offers."),
    ] = 30
    waf: Annotated[bool, Meta(description="Whether a firewall (AWS WAF) stands before the API in `production`.")] = True
    waf_requests: Annotated[
        int,
        Meta(
            description="Requests that one address may make in five minutes before the firewall refuses it.",
            ge=10,
            le=2_000_000_000,
        ),
    ] = 1000
    alarm_email: Annotated[
        str,
        Meta(
            description="Who hears of alarms and of the budget; `production` in an account needs it.",
            pattern=r"^([^@\s]+@[^@\s]+\.[^@\s]+)?$",
        ),
    ] = ""
    alarm_p99_seconds: Annotated[
        int, Meta(description="The slowest hundredth of the turns takes longer than this: an alarm.", ge=1, le=880)
    ] = 30
    monthly_budget_usd: Annotated[
        int,
        Meta(
            description="What AWS may bill for the deployment a month before `alarm_email` hears of it, in US dollars.",
            ge=1,
            le=10_000_000,
        ),
    ] = 100
    domain: Annotated[
        str,
        Meta(
            description="A domain name of yours for the API; empty: API Gateway's own.",
            pattern=r"^(([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,})?$",
        ),
    ] = ""
    certificate_arn: Annotated[
        str,
        Meta(
            description="The certificate of `domain`, in ACM and in the same region.",
            pattern=r"^(arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[0-9a-f-]+)?$",
        ),
    ] = ""
    hosted_zone_id: Annotated[
        str,
        Meta(
            description="The zone of `domain` in Route 53, where its address is written; empty: you write it.",
            pattern="^(Z[A-Z0-9]+)?$",
        ),
    ] = ""
    subnet_ids: Annotated[
        list[Annotated[str, Meta(pattern="^subnet-([0-9a-f]{8}|[0-9a-f]{17})$")]],
        Meta(description="Subnets of a VPC of yours that the function runs in; empty: none, it runs in AWS's own."),
    ] = []
    security_group_ids: Annotated[
        list[Annotated[str, Meta(pattern="^sg-([0-9a-f]{8}|[0-9a-f]{17})$")]],
        Meta(description="The security groups of the function in those subnets."),
    ] = []


class GCP(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    project: Annotated[
        str, Meta(description="The project's id; needed to deploy.", pattern="^([a-z][a-z0-9-]{4,28}[a-z0-9])?$")
    ] = ""
    region: Annotated[str, Meta(description="The region of every resource.", pattern="^[a-z]+-[a-z]+[0-9]+$")] = (
        "us-central1"
    )
    public: Annotated[
        bool,
        Meta(description="Whether the internet may reach the bot (access keys still hold); else only IAM principals."),
    ] = False
    memory_mb: Annotated[
        Literal[512, 1024, 2048, 4096], Meta(description="An instance's memory in MiB, beside its one processor.")
    ] = 512
    concurrency: Annotated[int, Meta(description="Requests that one instance serves at a time.", ge=1, le=1_000)] = 40
    max_instances: Annotated[
        int,
        Meta(description="Instances at most; times `concurrency`, the requests served at a time.", ge=1, le=1_000),
    ] = 10
    log_retention_days: Annotated[int, Meta(description="How long logs are kept, in days.", ge=1, le=3_650)] = 30


class Azure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    subscription: Annotated[
        str,
        Meta(
            description="The subscription's id; needed to deploy.",
            pattern="^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$",
        ),
    ] = ""
    location: Annotated[str, Meta(description="The location of every resource.", pattern="^[a-z0-9]+$")] = "eastus"
    public: Annotated[
        bool,
        Meta(
            description="Whether the internet may reach the bot (access keys still hold); else only private endpoints,"
            " which are yours to add."
        ),
    ] = False
    memory_mb: Annotated[
        Literal[512, 2048, 4096],
        Meta(description="An instance's memory in MiB; its share of a processor grows with it, one whole at 2,048."),
    ] = 2048
    concurrency: Annotated[int, Meta(description="Requests that one instance serves at a time.", ge=1, le=1_000)] = 16
    max_instances: Annotated[
        int,
        Meta(
            description="Instances at most; times `concurrency`, the requests served at a time. 40 is the least that"
            " Flex Consumption takes.",
            ge=40,
            le=1_000,
        ),
    ] = 40
    log_retention_days: Annotated[int, Meta(description="How long logs are kept, in days.", ge=30, le=730)] = 30


class Pulumi(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the state of Google Cloud's and Azure's deployments is kept; it holds no secret of the bot."""

    backend: Annotated[
        str,
        Meta(
            description="The state's place; empty: where `pulumi login` was. `gs://` and `azblob://` name a bucket or"
            " container, `file://` a folder.",
            pattern="^((https|gs|azblob|s3|file)://.+)?$",
        ),
    ] = ""
    secrets_provider: Annotated[
        str,
        Meta(
            description="What encrypts secrets in the state; empty: the backend's own service, or the passphrase in"
            " PULUMI_CONFIG_PASSPHRASE.",
            pattern="^((gcpkms|azurekeyvault|awskms|hashivault)://.+|passphrase)?$",
        ),
    ] = ""


class DeploymentSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of wordup.toml. `bot` holds the operator's part of Settings; the rest of it is left at its default."""

    name: Annotated[
        str,
        Meta(
            description="Names the deployment and everything in it; two names live side by side in one account.",
            pattern="^[a-z][a-z0-9]*(-[a-z0-9]+)*$",
            min_length=4,
            max_length=20,
        ),
    ] = "wordup"
    profile: Annotated[
        Profile,
        Meta(description="`dev` is removed without a trace; `production` keeps its data, with backups and protection."),
    ] = "dev"
    bot: Settings = Settings()
    aws: AWS = AWS()
    gcp: GCP = GCP()
    azure: Azure = Azure()
    pulumi: Pulumi = Pulumi()
    inference: dict[Annotated[str, Meta(pattern="^[a-z][a-z0-9]{1,9}$")], Inference] = {}
    tags: Annotated[
        dict[
            Annotated[str, Meta(pattern="^[a-z][a-z0-9_-]{0,62}$")],
            Annotated[str, Meta(pattern="^[a-z0-9_-]{0,63}$")],
        ],
        Meta(
            description="Put on every resource that takes tags or labels; lower-case letters, digits, `-` and `_`, as"
            " every cloud takes them."
        ),
    ] = {}


def load(path: Path = FILE, *, name: str | None = None, profile: str | None = None) -> DeploymentSpec:
    """Reads the file; `name` and `profile` replace its own. Raises ConfigurationError naming the key at fault."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            path.name, f"There is no {path.name}.", mend="Copy it from the repository, or run the command there."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(path.name, f"{path.name} is not TOML: {error}.") from None
    overrides = {key: value for key, value in (("name", name), ("profile", profile)) if value is not None}
    return parse(document | overrides)


def parse(document: dict[str, Any]) -> DeploymentSpec:
    """From TOML's values. Raises ConfigurationError."""
    bot = document.get("bot", {})
    if isinstance(bot, dict):
        for key in cast("dict[str, Any]", bot):
            _check_bot_key(key)
    try:
        spec = msgspec.convert(document, DeploymentSpec)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from None
    if spec.bot.auth == "open":
        raise ConfigurationError("bot.auth", "bot.auth: `open` is for a server on loopback.", mend="Use key or oidc.")
    try:
        bot = Settings.parse({f: getattr(spec.bot, f) for f in OPERATOR})
    except ConfigurationError as error:
        field = next((f for f in OPERATOR if variable(f) == error.setting), error.setting)
        raise ConfigurationError(
            f"bot.{field}", error.sentence, mend=f"Mend {field} under [bot] in wordup.toml."
        ) from None
    inference.check(spec.inference)
    return msgspec.structs.replace(spec, bot=bot)


def environment(spec: DeploymentSpec, cloud: Cloud) -> dict[str, str]:
    """The WORDUP_* variables of a function on that cloud. No value is a secret; an empty one is left out.

    Azure's `store_endpoint` and references hold names that exist only once created: its program adds those three.
    """
    values: dict[str, Any] = {f: getattr(spec.bot, f) for f in OPERATOR}
    if cloud != "aws" or spec.bot.trusted_proxies:
        # Each platform's own front end appends to X-Forwarded-For, too; API Gateway also tells the address by itself.
        values["trusted_proxies"] += 1
    match cloud:
        case "aws":
            values |= {"store": "dynamodb", "table": spec.name, "response_mode": "stream", "metrics": "emf"}
            values |= _references(f"aws:{spec.name}")
        case "gcp":
            values |= {"store": "firestore", "table": spec.name, "store_endpoint": spec.gcp.project}
            values |= _references(f"gcp:projects/{spec.gcp.project}/secrets/{spec.name}")
        case "azure":
            values |= {"store": "azure_tables", "table": spec.name.replace("-", "")}
    return {variable(field): str(value) for field, value in values.items() if value != ""}


def _references(secret: str) -> dict[str, str]:
    return {"signing_key_ref": f"{secret}#signing", "provider_key_ref": f"{secret}#provider_key"}


def _check_bot_key(key: str) -> None:
    setting = f"bot.{key}"
    if key in HOME_ONLY:
        raise ConfigurationError(
            setting, f"{setting} is for the self-hosted home: {HOME_ONLY[key]}.", mend="Leave it out."
        )
    if key in DECIDED:
        raise ConfigurationError(
            setting, f"{setting} follows from the cloud and the deployment's name.", mend="Leave it out."
        )
    if key not in OPERATOR:
        raise _unknown(setting, key, OPERATOR)


def _explained(message: str) -> ConfigurationError:
    """msgspec's message, `<sentence> - at `<path>``, with the path as an operator writes it."""
    sentence, _, where = message.partition(" - at `")
    path = where.split("$.")[-1].rstrip("`").removesuffix("[...]")
    if sentence.startswith("Object contains unknown field"):
        key = sentence.split("`")[1]
        table = Inference if path == "inference" else getattr(DeploymentSpec(), path) if path else DeploymentSpec
        return _unknown(f"{path}.{key}" if path else key, key, table.__struct_fields__)
    sentence = sentence.replace("`object`", "a table").replace("`str`", "text")
    mend = f"Mend {path} in wordup.toml; docs/wordup-toml.md describes it."
    return ConfigurationError(path, f"{path}: {sentence}.", mend=mend)


def _unknown(setting: str, key: str, known: tuple[str, ...]) -> ConfigurationError:
    near = difflib.get_close_matches(key, known, n=1)
    mend = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(known)}."
    return ConfigurationError(setting, f"{setting} is no key of wordup.toml.", mend=mend)
