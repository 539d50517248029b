"""The one place where ports meet adapters, called once per process.

The registries name adapters by text, as entry points are: `module:Class`, and in brackets the extra of this project
that installs the SDK. So only the chosen adapter, and its vendor's SDK, is ever imported.
"""

import importlib
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from wordup import logs
from wordup.admission import Admission
from wordup.auth import Authenticator
from wordup.chat import Chat
from wordup.config import Settings
from wordup.errors import ConfigurationError, ModelRetired, UnknownModel
from wordup.keyring import KeyRing, SecretReader, ring_file
from wordup.limits import AddressLimit, DeploymentBudget, UserLimits
from wordup.models import Catalogue
from wordup.providers.base import Embedder, Provider
from wordup.retrieval import Knowledge, Retrieved
from wordup.secrets.base import Secrets
from wordup.stores.base import Store
from wordup.telemetry import Metrics, Telemetry

if TYPE_CHECKING:
    from wordup.embeddings import Embeddings
    from wordup.oidc import Issuer

STORES = {
    "sqlite": "wordup.stores.sqlite:SQLiteStore",
    "dynamodb": "wordup.stores.dynamodb:DynamoDBStore [aws]",
    "firestore": "wordup.stores.firestore:FirestoreStore [gcp]",
    "azure_tables": "wordup.stores.azure_tables:AzureTablesStore [azure]",
}
PROVIDERS = {
    "offline": "wordup.providers.offline:OfflineProvider",
    "openai": "wordup.providers.openai:OpenAIProvider",
}
ENDPOINTS = {
    "http": "wordup.endpoints.http:HTTPEndpoint",
    "sagemaker": "wordup.endpoints.sagemaker:SageMakerEndpoint",
    "vertex": "wordup.endpoints.vertex:VertexEndpoint",
    "azure_ml": "wordup.endpoints.azure_ml:AzureMLEndpoint",
}
METRICS = {"prometheus": "wordup.prometheus:PrometheusMetrics [server]"}
SECRETS = {
    "file": "wordup.secrets.file:FileSecrets",
    "aws": "wordup.secrets.aws:AWSSecrets [aws]",
    "gcp": "wordup.secrets.gcp:GCPSecrets [gcp]",
    "azure": "wordup.secrets.azure:AzureSecrets [azure]",
}


class Bot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the application serves, put together."""

    settings: Settings
    store: Store
    auth: Authenticator
    chat: Chat
    catalogue: Catalogue
    knowledge: Knowledge
    secrets: SecretReader
    metrics: Metrics | None
    clock: Callable[[], float]
    close: Callable[[], Any]


def build(settings: Settings, *, store: Store | None = None, clock: Callable[[], float] = time.time) -> Bot:
    """Connects nothing. `store` takes the place of the one that the settings name. Raises ConfigurationError."""
    if settings.auth == "open" and settings.store != "sqlite":
        raise ConfigurationError("WORDUP_AUTH", "`open` is for your own machine alone.", mend="Use `key`.")
    store = store or open_store(settings, clock=clock)
    secrets = SecretReader(_Adapters())
    catalogue = Catalogue.load(settings.model_prices)
    _check_model(catalogue, settings)
    knowledge = Knowledge(settings.knowledge_dir, settings.data_dir)
    providers: dict[str, Provider] = {}

    def provider(name: str) -> Provider:
        if name not in providers:
            providers[name] = open_provider(name, settings, secrets)
        return providers[name]

    limits = UserLimits(store, settings, clock=clock)
    budget = DeploymentBudget(store, settings, clock=clock, keeps=settings.store == "sqlite")
    ring = KeyRing(secrets, signing_reference(settings))
    sign_ins = AddressLimit(store, settings, ring, clock=clock)
    metrics = adapter(METRICS, settings.metrics, "WORDUP_METRICS")() if settings.metrics in METRICS else None
    telemetry = Telemetry(settings, metrics, clock=clock)
    embeddings = None
    if settings.embeddings:
        embeddings = open_embeddings(settings, knowledge, cast("Embedder", provider("openai")), catalogue, telemetry)
    dearest = embeddings.worst if embeddings else 0
    admission = Admission(store, catalogue, limits, settings, retrieval_micros=dearest, clock=clock)

    async def retrieve(query: str) -> Retrieved:
        if embeddings is None:
            return knowledge.search(query), 0
        meaning, micros = await embeddings.of(query)
        return knowledge.search(query, meaning=meaning), micros

    chat = Chat(store, provider, catalogue, retrieve, admission, limits, budget, telemetry, settings, clock=clock)

    async def close() -> None:
        await chat.close()
        await budget.close()
        for opened in providers.values():
            await opened.close()
        if embeddings is not None:
            embeddings.close()
        knowledge.close()
        await store.close()

    return Bot(
        settings=settings,
        store=store,
        auth=Authenticator(store, settings, ring, sign_ins, _issuer(settings, clock), clock=clock),
        chat=chat,
        catalogue=catalogue,
        knowledge=knowledge,
        secrets=secrets,
        metrics=metrics,
        clock=clock,
        close=close,
    )


def _check_model(catalogue: Catalogue, settings: Settings) -> None:
    """A model that was shut down since the deployment answers every turn with its successor's name; one that never
    was is a mistake."""
    _known(PROVIDERS, settings.provider, "WORDUP_PROVIDER")
    try:
        catalogue.resolve(settings.model, settings.provider)
    except ModelRetired as error:
        logs.write(logging.ERROR, "model_retired", model=settings.model, successor=error.successor)
    except UnknownModel as error:
        raise ConfigurationError("WORDUP_MODEL", error.sentence, mend=error.mend) from None


def open_store(settings: Settings, *, clock: Callable[[], float] = time.time) -> Store:
    """The chosen store, not yet connected."""
    store = adapter(STORES, settings.store, "WORDUP_STORE")
    if settings.store == "sqlite":
        return store(Path(settings.data_dir) / "wordup.db", clock=clock)
    return store(settings.table, settings.store_endpoint, clock=clock)


def open_provider(name: str, settings: Settings, secrets: SecretReader | None = None) -> Provider:
    """A provider by its name, not yet connected."""
    secrets = secrets or SecretReader(_Adapters())
    kind = adapter(PROVIDERS, name, "WORDUP_PROVIDER")
    if name == "offline":
        return kind()

    async def key() -> str:
        if settings.provider_key_ref:
            return await secrets.read(settings.provider_key_ref)
        return settings.openai_api_key or "none"  # a local server asks for no key, its client does

    return kind(key, settings.openai_base_url)


def open_embeddings(
    settings: Settings,
    knowledge: Knowledge,
    embedder: Embedder,
    catalogue: Catalogue | None = None,
    telemetry: Telemetry | None = None,
) -> "Embeddings":
    """What tells the meaning of a question by the model that the settings name. Raises ConfigurationError."""
    from wordup.embeddings import Embeddings

    catalogue = catalogue or Catalogue.load(settings.model_prices)
    telemetry = telemetry or Telemetry(settings)
    return Embeddings(embedder, knowledge, catalogue, settings, telemetry.unembedded)


def open_embedder(settings: Settings) -> Embedder:
    """The provider of the model of embeddings, not yet connected."""
    return cast("Embedder", open_provider(settings.embeddings.partition(":")[0], settings))


def _issuer(settings: Settings, clock: Callable[[], float]) -> "Issuer | None":
    if settings.auth != "oidc":
        return None
    from wordup.oidc import Issuer  # brings cryptography: a quarter of the cold start of those who sign in by keys

    return Issuer(settings.oidc_issuer, settings.oidc_audience, clock=clock)


def signing_reference(settings: Settings) -> str:
    """Where the keys are that sign sessions; at home they are made where there are none. Raises ConfigurationError."""
    if settings.signing_key_ref:
        return settings.signing_key_ref
    if settings.store != "sqlite":
        raise ConfigurationError("WORDUP_SIGNING_KEY_REF", "Instances that share a store must share a signing key.")
    return f"file:{ring_file(Path(settings.data_dir) / 'signing.json')}"


class _Adapters(Mapping[str, Secrets]):
    """The secrets adapters by scheme, made at first use."""

    def __init__(self) -> None:
        self._made: dict[str, Secrets] = {}

    def __getitem__(self, scheme: str) -> Secrets:
        if scheme not in self._made:
            self._made[scheme] = adapter(SECRETS, scheme, "the secret's reference")()
        return self._made[scheme]

    def __iter__(self):
        return iter(SECRETS)

    def __len__(self) -> int:
        return len(SECRETS)

    def __contains__(self, scheme: object) -> bool:
        return scheme in SECRETS


def _known(registry: Mapping[str, str], name: str, setting: str) -> str:
    if name not in registry:
        raise ConfigurationError(setting, f"{name!r} is not known.", mend=f"Known: {', '.join(sorted(registry))}.")
    return registry[name]


def adapter(registry: Mapping[str, str], name: str, setting: str) -> Any:
    """The class behind a registry's name. Raises ConfigurationError naming the known ones, or the extra to install."""
    module, _, attribute = _known(registry, name, setting).partition(":")
    attribute, _, extra = attribute.partition(" ")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            setting, f"{name} needs the package {error.name}.", mend=f"Install wordup-bot{extra}."
        ) from error
