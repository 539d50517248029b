"""The model catalogue: which models live, what they cost, and what comes after them.

`models.toml` is dated data: each price has its source and the day it was checked, and a new price is a new row, so
yesterday's bill never moves. Money is in whole micro-dollars; a price is in micro-dollars per million tokens (0.25 USD
a million is 250_000). A model without a price is refused, because a budget would mean nothing for it.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from wordup.errors import ConfigurationError, ModelRetired, UnknownModel

BOT = "wordup"  # the model that clients name who want the bot, whatever it runs on
CATALOGUE = Path(__file__).with_name("models.toml")
MILLION = 1_000_000


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a million tokens cost, in micro-dollars, from the day `since` on, for requests of more than `above` input
    tokens (long prompts cost more). Cached input was read from the vendor's prompt cache; cache writes are the input
    that it stored there, which some models charge for."""

    since: date
    above: int = 0
    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    source: str
    checked: date

    def micros(self, input_tokens: int, output_tokens: int, cached: int, written: int) -> int:
        """The price of one request in micro-dollars, rounded up. `cached` and `written` are part of the input."""
        cached_rate = self.input if self.cached_input is None else self.cached_input
        write_rate = self.input if self.cache_write is None else self.cache_write
        plain = max(0, input_tokens - cached - written)
        total = plain * self.input + cached * cached_rate + written * write_rate + output_tokens * self.output
        return -(-total // MILLION)


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One model. `id` is `provider:name`. Unknown sizes are None. From the day `shutdown` on the vendor refuses it and
    `successor` is the id to use. `reasoning_effort` is what we ask of a model that thinks before it answers: its
    thinking is billed as output and counts against the answer's bound, so it is the least that the model takes."""

    id: str
    provider: str
    name: str
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    reasoning_effort: str | None = None
    shutdown: date | None = None
    successor: str | None = None
    source: str
    checked: date
    prices: tuple[Price, ...] = ()


def utc_today() -> date:
    return datetime.now(UTC).date()


class Catalogue:
    """The models of `models.toml` and those that the operator priced."""

    def __init__(
        self,
        models: Mapping[str, Model],
        defaults: Mapping[str, str],
        today: Callable[[], date],
        embeddings: Mapping[str, Model] = MappingProxyType({}),
    ) -> None:
        self._models = models
        self._defaults = defaults
        self._today = today
        self._embeddings = embeddings

    @classmethod
    def load(cls, extra_prices: str = "", *, today: Callable[[], date] = utc_today) -> "Catalogue":
        """Reads the catalogue that ships; `extra_prices` is WORDUP_MODEL_PRICES, whose entries replace those of the
        same id. Raises ConfigurationError for a price that cannot be read."""
        document = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
        operators = {model.id: model for model in _operator_models(extra_prices, today())}
        models = _listed(document["models"]) | operators
        return cls(models, document["defaults"], today, _listed(document["embeddings"]) | operators)

    def __iter__(self) -> Iterator[Model]:
        """Every model, the retired ones too."""
        return iter(self._models.values())

    def living(self, provider: str) -> list[Model]:
        """The models of one provider that can be asked today."""
        return [model for model in self if model.provider == provider and not self.retired(model)]

    def retired(self, model: Model) -> bool:
        return model.shutdown is not None and model.shutdown <= self._today()

    def resolve(self, model_id: str, provider: str) -> Model:
        """The model that `provider` shall run: by id, by its bare name, or the provider's default when empty.
        Raises UnknownModel (also for one without a price) and ModelRetired."""
        known = model_id or self._defaults.get(provider, "")
        model = self._models.get(known) or self._models.get(f"{provider}:{known}")
        if model is None or model.provider != provider:
            raise UnknownModel(f"There is no model {known!r} in this deployment." if known else None)
        if self.retired(model):
            sentence = f"{model.id} was shut down by its provider on {model.shutdown}."
            raise ModelRetired(sentence, successor=self._living_successor(model))
        if not self._rows(model):
            raise UnknownModel(f"{model.id} has no price, so that no budget could hold for it.")
        return model

    def embedding(self, model_id: str) -> Model:
        """The model that turns texts into vectors. Raises UnknownModel, also for one without a price."""
        if (model := self._embeddings.get(model_id)) is None:
            raise UnknownModel(
                f"There is no embedding model {model_id!r}.",
                mend="docs/models.md lists them; WORDUP_MODEL_PRICES adds one, with its price.",
            )
        return model

    def price(self, model: Model, input_tokens: int = 0) -> Price:
        """Today's price for a request of that many input tokens. Raises UnknownModel when there is none."""
        rows = [row for row in self._rows(model) if row.above == 0 or row.above < input_tokens]
        if not rows:
            raise UnknownModel(f"{model.id} has no price, so that no budget could hold for it.")
        return max(rows, key=lambda row: (row.since, row.above))

    def cost(
        self,
        model: Model,
        input_tokens: int,
        output_tokens: int,
        cached_input_tokens: int = 0,
        cache_write_input_tokens: int = 0,
    ) -> int:
        """What a request cost, in micro-dollars, rounded up."""
        price = self.price(model, input_tokens)
        return price.micros(input_tokens, output_tokens, cached_input_tokens, cache_write_input_tokens)

    def worst_case(self, model: Model, input_bytes: int, max_tokens: int) -> int:
        """The most that a request can cost, in micro-dollars: no token is shorter than a byte, so the input's bytes
        bound its tokens (`providers.base.input_token_bound` counts them), and none of them may come from a cache."""
        price = self.price(model, input_bytes)
        written = input_bytes if (price.cache_write or 0) > price.input else 0
        return price.micros(input_bytes, max_tokens, 0, written)

    def _rows(self, model: Model) -> list[Price]:
        return [row for row in model.prices if row.since <= self._today()]

    def _living_successor(self, model: Model) -> str | None:
        successor = self._models.get(model.successor or "")
        while successor is not None and self.retired(successor):
            successor = self._models.get(successor.successor or "")
        return successor.id if successor else None


def _listed(entries: dict[str, dict[str, Any]]) -> dict[str, Model]:
    models: dict[str, Model] = {}
    for model_id, fields in entries.items():
        provider, _, name = model_id.partition(":")
        for each in (name, *fields.pop("snapshots", ())):
            full = f"{provider}:{each}"
            models[full] = msgspec.convert(fields | {"id": full, "provider": provider, "name": each}, Model)
    return models


def _operator_models(extra_prices: str, today: date) -> Iterator[Model]:
    source = "WORDUP_MODEL_PRICES"
    for entry in filter(None, (part.strip() for part in extra_prices.split(","))):
        model_id, _, prices = entry.rpartition("=")
        provider, _, name = model_id.strip().partition(":")
        input_usd, _, output_usd = prices.partition("/")
        if not (provider and name and input_usd and output_usd):
            raise ConfigurationError(source, f"{entry!r} is not of the form provider:model=input/output.")
        price = Price(since=today, input=_micros(input_usd), output=_micros(output_usd), source=source, checked=today)
        yield Model(
            id=f"{provider}:{name}", provider=provider, name=name, source=source, checked=today, prices=(price,)
        )


def _micros(usd: str) -> int:
    try:
        amount = Decimal(usd.strip()) * MILLION
        if not 0 <= amount <= 10**12:
            raise InvalidOperation
    except InvalidOperation:
        raise ConfigurationError("WORDUP_MODEL_PRICES", f"{usd!r} is no price in US dollars.") from None
    return int(amount.to_integral_value(ROUND_CEILING))
