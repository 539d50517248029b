"""The catalogue: what a model costs, when it dies, and that its data are those of their sources."""

import importlib
import re
import tomllib
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from genai_prices.types import ModelPrice, TieredPrices
from openai.types.shared import chat_model

from wordup.errors import ConfigurationError, ModelRetired, UnknownModel
from wordup.models import CATALOGUE as MODELS
from wordup.models import MILLION, Catalogue, Model, Price

TODAY = date(2026, 11, 21)
CATALOGUE = Catalogue.load(today=lambda: TODAY)
OPENAI = [model for model in CATALOGUE if model.provider == "openai"]
# By name: their one literal of all prices takes the type checker longer than everything else of ours.
providers: Any = importlib.import_module("genai_prices.data").providers
LISTED = {model.id: model for vendor in providers if vendor.id == "openai" for model in vendor.models}
# As in: - "gpt-5", "gpt-5-mini": Announced shutdown date: 2026-12-11.
NOTE = re.compile(r'^- ((?:"[^"]+",?\s+)*"[^"]+"):\s+Announced\s+shutdown\s+date:\s+([\d-]+)', re.MULTILINE)
NOTES = NOTE.findall(Path(chat_model.__file__).read_text())


def model(name: str, *, extra: str = "") -> Model:
    return Catalogue.load(extra, today=lambda: TODAY).resolve(name, "openai")


def test_default_of_each_provider_is_alive_and_priced() -> None:
    assert CATALOGUE.resolve("", "offline").id == "offline:extract"
    assert CATALOGUE.resolve("", "openai").shutdown is None


def test_model_is_found_by_id_and_by_bare_name() -> None:
    assert model("openai:gpt-6-luna") == model("gpt-6-luna")
    assert model("gpt-4o-2024-11-20").name == "gpt-4o-2024-11-20"


@pytest.mark.parametrize("name", ["gpt-7", "offline:extract", "openai:", ":", "azure_openai:gpt-6-luna"])
def test_model_of_no_or_another_provider_is_unknown(name: str) -> None:
    with pytest.raises(UnknownModel):
        model(name)


def test_provider_without_a_default_is_unknown() -> None:
    with pytest.raises(UnknownModel):
        CATALOGUE.resolve("", "vertex")


@pytest.mark.parametrize(
    ("name", "successor"),
    [
        ("gpt-4-turbo", "openai:gpt-5.6-sol"),
        ("gpt-4", "openai:gpt-5.6-sol"),
        ("gpt-4-0613", "openai:gpt-5.6-sol"),
        ("gpt-3.5-turbo", "openai:gpt-5.6-terra"),
    ],
)
def test_retired_model_names_its_successor(name: str, successor: str) -> None:
    with pytest.raises(ModelRetired) as caught:
        model(name)
    assert caught.value.successor == successor
    assert successor in caught.value.mend
    assert "2026-10-23" in caught.value.sentence


def test_model_retires_on_its_day() -> None:
    day = date(2027, 1, 13)
    catalogue = Catalogue.load(today=lambda: day)
    gpt_4o = catalogue.resolve("gpt-4o", "openai")
    assert gpt_4o in catalogue.living("openai")
    day = date(2027, 1, 14)
    with pytest.raises(ModelRetired) as caught:
        catalogue.resolve("gpt-4o", "openai")
    assert caught.value.successor == "openai:gpt-6-luna"
    assert gpt_4o not in catalogue.living("openai")


def test_cost_is_rounded_up_and_knows_the_cache() -> None:
    luna = model("gpt-6-luna")  # 0.10 USD a million in, 0.01 from the cache, 0.125 into it, 0.50 out
    assert CATALOGUE.cost(luna, 100_000, 100_000) == 60_000
    assert CATALOGUE.cost(luna, 1_000, 100) == 150
    assert CATALOGUE.cost(luna, 1_000, 100, 1_000) == 60
    assert CATALOGUE.cost(luna, 1_000, 100, 0, 1_000) == 175
    assert CATALOGUE.cost(luna, 1, 0) == 1
    assert CATALOGUE.cost(luna, 0, 0) == 0
    assert CATALOGUE.cost(CATALOGUE.resolve("", "offline"), 10**6, 10**6) == 0


def test_long_prompt_costs_its_own_price_as_a_whole() -> None:
    luna = model("gpt-6-luna")
    assert CATALOGUE.cost(luna, 272_000, 0) == 27_200
    assert CATALOGUE.cost(luna, 272_001, 0) == 54_401
    assert CATALOGUE.price(luna, 272_001).output == 750_000


@pytest.mark.parametrize("name", ["gpt-6-luna", "gpt-5.6-sol", "gpt-4o", "gpt-5.4"])
@pytest.mark.parametrize("tokens", [0, 1, 999, 272_001])
def test_worst_case_is_never_below_a_cost_within_its_bounds(name: str, tokens: int) -> None:
    asked = model(name)
    worst = CATALOGUE.worst_case(asked, tokens, 1_000)
    for cached, written in [(0, 0), (tokens, 0), (0, tokens), (tokens // 2, tokens // 2)]:
        assert CATALOGUE.cost(asked, tokens, 1_000, cached, written) <= worst


def test_price_applies_from_its_day() -> None:
    row = {"output": 0, "source": "a test", "checked": TODAY}
    rows = (Price(since=date(2026, 1, 1), input=10, **row), Price(since=date(2026, 11, 21), input=20, **row))
    dated = Model(id="x:y", provider="x", name="y", source="a test", checked=TODAY, prices=rows)
    for day, price in [(date(2026, 11, 20), 10), (date(2026, 11, 21), 20)]:
        assert Catalogue({}, {}, lambda day=day: day).price(dated).input == price
    with pytest.raises(UnknownModel):
        Catalogue({}, {}, lambda: date(2025, 12, 31)).price(dated)


def test_model_without_a_price_is_refused() -> None:
    unpriced = Model(id="x:y", provider="x", name="y", source="a test", checked=TODAY)
    with pytest.raises(UnknownModel, match="no price"):
        Catalogue({"x:y": unpriced}, {}, lambda: TODAY).resolve("y", "x")


def test_operator_adds_and_replaces_prices() -> None:
    extra = " openai:llama3.2:3b=0.1/0.25 , openai:gpt-6-luna=0/0.0000001,openai:gpt-4=1/2 "
    llama = model("llama3.2:3b", extra=extra)
    assert (llama.name, llama.prices[0].input, llama.prices[0].output) == ("llama3.2:3b", 100_000, 250_000)
    assert model("gpt-6-luna", extra=extra).prices[0].output == 1
    assert model("gpt-4", extra=extra).shutdown is None  # a compatible server may well call its model so


@pytest.mark.parametrize(
    "extra", ["x", "openai:x=1", "x=1/2", "openai:x=1/", "openai:x=a/1", "openai:x=-1/1", "openai:=1/1"]
)
def test_unreadable_price_is_a_configuration_error(extra: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Catalogue.load(extra)
    assert caught.value.setting == "WORDUP_MODEL_PRICES"


@pytest.mark.parametrize("listed", list(CATALOGUE), ids=lambda each: each.id)
def test_entry_is_sourced_and_dated(listed: Model) -> None:
    assert listed.source.startswith("https://") or listed.provider == "offline"
    assert listed.checked <= datetime.now(ZoneInfo("UTC")).date()
    assert all((price.source and price.since <= price.checked) or price.since <= TODAY for price in listed.prices)
    assert bool(listed.prices) or CATALOGUE.retired(listed)
    assert (listed.shutdown is None) == (listed.successor is None)
    if listed.successor:
        successor = CATALOGUE.resolve(listed.successor, listed.provider)
        assert successor.shutdown is None or (listed.shutdown and successor.shutdown > listed.shutdown)


@pytest.mark.parametrize("listed", [each for each in OPENAI if each.prices], ids=lambda each: each.id)
def test_price_is_that_of_genai_prices(listed: Model) -> None:
    theirs = next(info for info in LISTED.values() if info.match.is_match(listed.name))
    for tokens in (0, 272_001):
        ours = CATALOGUE.price(listed, tokens)
        price = _current(theirs.prices)
        assert ours.input == _micros(price.input_mtok, tokens)
        assert ours.output == _micros(price.output_mtok, tokens)
        assert ours.cached_input == _micros(price.cache_read_mtok, tokens)
        assert ours.cache_write == _micros(price.cache_write_mtok, tokens)
    assert theirs.context_window == listed.context_tokens


def test_price_of_an_embedding_model_is_that_of_genai_prices() -> None:
    for name in tomllib.loads(MODELS.read_text(encoding="utf-8"))["embeddings"]:
        listed = CATALOGUE.embedding(name)
        theirs = LISTED[listed.name]
        assert CATALOGUE.price(listed).input == _micros(_current(theirs.prices).input_mtok, 0)
        assert theirs.context_window == listed.context_tokens
        documented = (Path(__file__).parents[2] / "docs/models.md").read_text(encoding="utf-8")
        assert f"| `{name}` | {_current(theirs.prices).input_mtok} |" in documented


def test_embedding_model_answers_nobody_and_the_other_way_round() -> None:
    with pytest.raises(UnknownModel):
        model("text-embedding-3-small")
    with pytest.raises(UnknownModel, match="no embedding model"):
        CATALOGUE.embedding("openai:gpt-6-luna")
    assert Catalogue.load("openai:bge=0.01/0").embedding("openai:bge").prices[0].input == 10_000


def _current(prices: Any) -> ModelPrice:
    if isinstance(prices, ModelPrice):
        return prices
    return max(prices, key=lambda row: getattr(row.constraint, "start_date", date.min)).prices


def _micros(price: Decimal | TieredPrices | None, tokens: int) -> int | None:
    if isinstance(price, TieredPrices):
        price = max(((0, price.base), *((tier.start, tier.price) for tier in price.tiers if tier.start < tokens)))[1]
    return None if price is None else int(price * MILLION)


@pytest.mark.parametrize("listed", OPENAI, ids=lambda each: each.id)
def test_shutdown_is_that_of_the_openai_package(listed: Model) -> None:
    announced = {name: date.fromisoformat(day) for names, day in NOTES for name in re.findall(r'"([^"]+)"', names)}
    assert "gpt-4o" in announced  # the notes were found
    assert listed.shutdown == announced.get(listed.name)


def test_documentation_lists_every_model_with_its_price_and_end() -> None:
    documented = (Path(__file__).parents[2] / "docs/models.md").read_text(encoding="utf-8")
    for model_id in tomllib.loads(MODELS.read_text(encoding="utf-8"))["models"]:
        listed = next(each for each in CATALOGUE if each.id == model_id)
        (row,) = re.findall(rf"^\| `{re.escape(model_id)}` \|(.*)\|$", documented, re.MULTILINE)
        cells = [cell.strip().strip("`") for cell in row.split("|")]
        end = [str(listed.shutdown or ""), listed.successor or ""]
        if listed.prices:
            price = CATALOGUE.price(listed)
            assert [Decimal(cell) * MILLION if cell else None for cell in cells[:3]] == [
                price.input,
                price.cached_input,
                price.output,
            ]
            assert cells[3:] == end
        else:
            assert cells == end
