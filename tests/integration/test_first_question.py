"""The question that follows a deployment, asked of a bot on a real socket by whoever deployed it."""

import asyncio
import contextlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cli import first_question
from tests.infrastructure.test_pulumi_stack import Heard
from tests.issuer import AUDIENCE, issuer
from tests.proxy import Proxy
from tests.serving import served, settings
from wordup import keys
from wordup.auth import list_keys, named
from wordup.bootstrap import open_store
from wordup.config import Settings
from wordup.stores.base import every

IDENTITY = {"X-Serverless-Authorization": "Bearer of-the-operator"}


class Deployed:
    """A bot on this machine in a deployment's place; its secret is held here. As much of a Target as is asked."""

    is_billed = False

    def __init__(self, configured: Settings, admission: Mapping[str, str] | None = None) -> None:
        self.settings = configured
        self.secret: dict[str, Any] = {}
        self._admission = admission or {}

    def read_secret(self) -> dict[str, Any]:
        return self.secret

    def write_secret(self, value: Mapping[str, Any]) -> None:
        self.secret = dict(value)

    @contextlib.contextmanager
    def connected(self) -> Generator[Settings]:
        yield self.settings

    def admission(self) -> Mapping[str, str]:
        return self._admission


@pytest.fixture
def configured(home: Path) -> Settings:
    return settings(home, access_key="")


def test_owner_gets_a_key_once_and_its_answer_each_time(configured: Settings):
    target: Any = Deployed(configured)
    with served(configured) as url:
        key, answer = first_question.ask(target, f"{url}/", "key", Heard())
        again, _ = first_question.ask(target, f"{url}/", "key", Heard())
    assert "15 minutes" in answer
    assert key == again == target.secret["access_key"]
    assert target.secret.keys() == {"signing", "provider_key", "access_key"}


def test_where_sign_in_is_an_issuers_nothing_of_the_question_stays(home: Path, tmp_path: Path):
    with issuer(tmp_path) as provider:
        configured = settings(home, access_key="", auth="oidc", oidc_issuer=provider.url, oidc_audience=AUDIENCE)
        target: Any = Deployed(configured)
        with served(configured) as url:
            key, answer = first_question.ask(target, f"{url}/", "oidc", Heard())

    async def left() -> tuple[int, list[str]]:
        store = open_store(configured)
        visitor = named(first_question.VISITOR).pk
        try:
            return len(await list_keys(store)), [row.sk async for row in every(store, visitor, "")]
        finally:
            await store.close()

    assert (key, "15 minutes" in answer) == (None, True)
    assert "access_key" not in target.secret
    assert asyncio.run(left()) == (0, [keys.ERASED])


def test_operators_identity_goes_with_every_request_to_a_bot_that_is_not_public(configured: Settings):
    target: Any = Deployed(configured, IDENTITY)
    with served(configured) as url, Proxy(url) as front:
        first_question.ask(target, f"{front.url}/", "key", Heard())
    sent = [{name.lower(): value for name, value in each.headers.items()} for each in front.exchanges]
    assert len(sent) == 3  # is it ready, a session, the question
    assert {headers["x-serverless-authorization"] for headers in sent} == {"Bearer of-the-operator"}
    assert sent[-1]["authorization"] != "Bearer of-the-operator"
