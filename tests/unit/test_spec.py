import typing
from pathlib import Path
from typing import Any

import pytest

from infra.spec import DECIDED, HOME_ONLY, Cloud, environment, load, parse
from wordup.config import Settings, variable
from wordup.errors import ConfigurationError

# What the clouds' programs know only once something is created, and add by themselves, or have no use for.
ADDED = {
    "azure": {"store_endpoint", "signing_key_ref", "provider_key_ref", "response_mode", "metrics"},
    "aws": {"store_endpoint"},
    "gcp": {"response_mode", "metrics"},
}
# A value for each text that is empty by default.
TEXTS: dict[str, Any] = {
    "model": "openai:gpt-5-mini",
    "model_prices": "openai:own=1/2",
    "embeddings": "openai:text-embedding-3-small",
    "openai_base_url": "https://models.example/v1",
    "oidc_issuer": "https://issuer.example",
    "oidc_audience": "wordup",
    "oidc_client_id": "page",
    "allowed_origins": "https://site.example",
}
FULL = {"bot": TEXTS | {"provider": "openai"}, "gcp": {"project": "word-up-demo"}}


@pytest.mark.parametrize("cloud", typing.get_args(Cloud))
def test_every_setting_reaches_the_function_or_says_why_not(cloud: Cloud):
    passed = environment(parse(FULL), cloud)
    expected = {variable(field) for field in Settings.__struct_fields__ if field not in {*HOME_ONLY, *ADDED[cloud]}}
    assert set(passed) == expected
    assert all(HOME_ONLY.values())


@pytest.mark.parametrize("cloud", typing.get_args(Cloud))
def test_function_reads_back_what_the_operator_wrote(cloud: Cloud):
    spec = parse(FULL | {"bot": TEXTS | {"provider": "openai", "retention_days": 7, "user_daily_usd": 0.25}})
    read = Settings.from_env(environment(spec, cloud))
    # The platform adds a proxy of its own.
    fields = [f for f in Settings.__struct_fields__ if f not in {*HOME_ONLY, *DECIDED, "trusted_proxies"}]
    assert {f: getattr(read, f) for f in fields} == {f: getattr(spec.bot, f) for f in fields}


@pytest.mark.parametrize(("cloud", "expected"), [("aws", (0, 2)), ("gcp", (1, 2)), ("azure", (1, 2))])
def test_front_end_of_the_platform_is_one_more_trusted_proxy(cloud: Cloud, expected: tuple[int, int]):
    counts = [Settings.from_env(environment(parse({"bot": {"trusted_proxies": n}}), cloud)) for n in (0, 1)]
    assert tuple(settings.trusted_proxies for settings in counts) == expected


def test_no_file_value_is_a_whole_deployment():
    spec = parse({})
    assert (spec.name, spec.profile, spec.bot.provider) == ("wordup", "dev", "offline")


def test_own_wordup_toml_is_valid():
    assert load().name == "wordup"


def test_name_and_profile_are_replaced(tmp_path: Path):
    file = tmp_path / "wordup.toml"
    file.write_text('name = "one-bot"\nprofile = "dev"\n')
    spec = load(file, name="other", profile="production")
    assert (spec.name, spec.profile) == ("other", "production")


@pytest.mark.parametrize(
    ("document", "key", "mend"),
    [
        ({"nam": "x"}, "nam", "Did you mean name?"),
        ({"bot": {"modle": "x"}}, "bot.modle", "Did you mean model?"),
        ({"aws": {"qwzx": 1}}, "aws.qwzx", "Known here: region"),
        ({"bot": {"retention_days": "3"}}, "bot.retention_days", "docs/wordup-toml.md"),
        ({"bot": {"retention_days": 0}}, "bot.retention_days", "docs/wordup-toml.md"),
        ({"bot": {"data_dir": "x"}}, "bot.data_dir", "Leave it out."),
        ({"bot": {"openai_api_key": "x"}}, "bot.openai_api_key", "Leave it out."),
        ({"bot": {"table": "x"}}, "bot.table", "Leave it out."),
        ({"bot": {"auth": "open"}}, "bot.auth", "Use key or oidc."),
        ({"bot": {"auth": "oidc"}}, "bot.oidc_issuer", "under [bot]"),
        ({"bot": {"lease_seconds": 5}}, "bot.lease_seconds", "under [bot]"),
        ({"bot": 3}, "bot", "docs/wordup-toml.md"),
        ({"aws": 3}, "aws", "docs/wordup-toml.md"),
        ({"aws": {"region": "Ireland"}}, "aws.region", "docs/wordup-toml.md"),
        ({"aws": {"log_retention_days": 2}}, "aws.log_retention_days", "docs/wordup-toml.md"),
        ({"profile": "test"}, "profile", "docs/wordup-toml.md"),
        ({"name": "Word Up"}, "name", "docs/wordup-toml.md"),
        ({"tags": {"Owner": "me"}}, "tags", "docs/wordup-toml.md"),
        ({"tags": {"owner": 3}}, "tags", "docs/wordup-toml.md"),
    ],
)
def test_wrong_key_is_named_with_its_mend(document: dict[str, Any], key: str, mend: str):
    with pytest.raises(ConfigurationError) as caught:
        parse(document)
    assert caught.value.setting == key
    assert key.rpartition(".")[2] in caught.value.sentence + caught.value.mend
    assert mend in caught.value.mend


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe"])
def test_broken_file_is_named(tmp_path: Path, content: bytes):
    file = tmp_path / "wordup.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"wordup\.toml is not TOML"):
        load(file)


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"There is no wordup\.toml"):
        load(tmp_path / "wordup.toml")


def test_same_field_is_never_both_decided_and_home_only():
    assert not DECIDED & set(HOME_ONLY)
    assert DECIDED | set(HOME_ONLY) <= set(Settings.__struct_fields__)
