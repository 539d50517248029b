import pytest

from wordup.bootstrap import build
from wordup.config import Settings
from wordup.errors import ConfigurationError


@pytest.mark.parametrize(
    ("environment", "setting"),
    [
        ({"WORDUP_STROE": "sqlite"}, "WORDUP_STROE"),
        ({"WORDUP_RETENTION_DAYS": "never"}, "WORDUP_RETENTION_DAYS"),
        ({"WORDUP_RETENTION_DAYS": "0"}, "WORDUP_RETENTION_DAYS"),
        ({"WORDUP_USER_DAILY_USD": "-1"}, "WORDUP_USER_DAILY_USD"),
        ({"WORDUP_LEASE_SECONDS": "60"}, "WORDUP_LEASE_SECONDS"),
        (
            {"WORDUP_LEASE_SECONDS": "121", "WORDUP_EMBEDDINGS": "openai:text-embedding-3-small"},
            "WORDUP_LEASE_SECONDS",
        ),
        ({"WORDUP_EMBEDDINGS": "text-embedding-3-small"}, "WORDUP_EMBEDDINGS"),
        ({"WORDUP_AUTH": "oidc"}, "WORDUP_OIDC_ISSUER"),
        ({"WORDUP_TRUSTED_PROXIES": "-1"}, "WORDUP_TRUSTED_PROXIES"),
    ],
)
def test_wrong_environment_names_its_variable(environment: dict[str, str], setting: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env(environment)
    assert caught.value.setting == setting


def test_provider_follows_from_the_key() -> None:
    assert Settings.from_env({}).provider == "offline"
    assert Settings.from_env({"OPENAI_API_KEY": "sk"}).provider == "openai"
    assert Settings.from_env({"OPENAI_API_KEY": "sk", "WORDUP_PROVIDER": "offline"}).provider == "offline"


@pytest.mark.parametrize(
    ("fields", "setting"),
    [
        ({"store": "mongo"}, "WORDUP_STORE"),
        ({"store": "dynamodb"}, "WORDUP_SIGNING_KEY_REF"),
        ({"store": "dynamodb", "auth": "open"}, "WORDUP_AUTH"),
        ({"provider": "bedrock"}, "WORDUP_PROVIDER"),
        ({"model": "gpt-0"}, "WORDUP_MODEL"),
        ({"embeddings": "openai:gpt-6-luna"}, "WORDUP_EMBEDDINGS"),
    ],
)
def test_what_cannot_be_built_says_why(fields: dict[str, str], setting: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(Settings.parse(fields))
    assert caught.value.setting == setting
