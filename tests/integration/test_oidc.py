"""Signing in with the tokens of a real OpenID provider; and everything that is no such token."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.home import wordup
from tests.issuer import AUDIENCE, Issuer, issuer
from tests.serving import KEY, served, settings
from wordup import oidc
from wordup.auth import issue_key, revoke_keys
from wordup.bootstrap import open_store
from wordup.config import Settings
from wordup.errors import ConfigurationError


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with issuer(tmp_path_factory.mktemp("issuer")) as running:
        yield running


def trusting(home: Path, url: str, **fields: Any) -> Settings:
    return settings(home, auth="oidc", oidc_issuer=url, oidc_audience=AUDIENCE, **fields)


def usage(url: str, token: str, **headers: str) -> httpx2.Response:
    return httpx2.get(f"{url}/v1/me/usage", headers={"authorization": f"Bearer {token}", **headers})


def code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_token_of_the_issuer_names_its_user(home: Path, provider: Issuer) -> None:
    with served(trusting(home, provider.url)) as url:
        anna, ben = ({"authorization": f"Bearer {provider.sign_in(name).access_token}"} for name in ("anna", "ben"))
        asked = httpx2.post(f"{url}/chat", json={"message": "What is S3?"}, headers=anna).json()
        conversation = f"{url}/v1/conversations/{asked['conversation_id']}"
        assert httpx2.get(conversation, headers=anna).status_code == 200
        assert httpx2.get(conversation, headers=ben).status_code == 404
        again = {"authorization": f"Bearer {provider.sign_in('anna').access_token}"}
        assert httpx2.get(conversation, headers=again).status_code == 200
        assert httpx2.get(f"{url}/v1/me/export", headers=anna).json()["user_id"] == "anna"


@pytest.mark.parametrize("client", ["page", "elliptic"])
def test_id_token_is_taken_where_the_client_is_the_audience(home: Path, provider: Issuer, client: str) -> None:
    with served(settings(home, auth="oidc", oidc_issuer=provider.url, oidc_audience=client)) as url:
        assert usage(url, provider.sign_in("anna", client=client).id_token).status_code == 200
        assert code(usage(url, provider.sign_in("anna", client="other").id_token)) == (401, "invalid_token")


def test_token_for_another_audience_is_refused(home: Path, provider: Issuer) -> None:
    with served(trusting(home, provider.url)) as url:
        signed_in = provider.sign_in("anna", resource="urn:another-service")
        for token in (signed_in.access_token, signed_in.id_token):
            answer = usage(url, token)
            assert code(answer) == (401, "invalid_token")
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_token_of_another_issuer_is_refused(home: Path, provider: Issuer, tmp_path: Path) -> None:
    with issuer(tmp_path / "another") as another, served(trusting(home, provider.url)) as url:
        assert code(usage(url, another.sign_in("anna").access_token)) == (401, "invalid_token")


def test_issuer_that_calls_itself_otherwise_is_not_believed(home: Path, provider: Issuer) -> None:
    with served(trusting(home, provider.url.replace("127.0.0.1", "localhost"))) as url:
        assert code(usage(url, provider.sign_in("anna").access_token)) == (503, "issuer_unavailable")


def test_expired_token_says_so_once_the_clocks_cannot_be_the_reason(home: Path, provider: Issuer) -> None:
    now = [time.time()]
    with served(trusting(home, provider.url), clock=lambda: now[0]) as url:
        token = provider.sign_in("anna").access_token
        expires = jwt.decode(token, options={"verify_signature": False})["exp"]
        now[0] = expires + oidc.SKEW_SECONDS - 1
        assert usage(url, token).status_code == 200
        now[0] = expires + oidc.SKEW_SECONDS
        assert code(usage(url, token)) == (401, "expired_token")


def test_token_from_the_future_is_refused_unless_the_clocks_can_be_the_reason(home: Path, provider: Issuer) -> None:
    now = [0.0]
    with served(trusting(home, provider.url), clock=lambda: now[0]) as url:
        token = provider.sign_in("anna").access_token
        issued = jwt.decode(token, options={"verify_signature": False})["iat"]
        now[0] = issued - oidc.SKEW_SECONDS
        assert usage(url, token).status_code == 200
        now[0] = issued - oidc.SKEW_SECONDS - 1
        assert code(usage(url, token)) == (401, "invalid_token")


def part(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def as_a_shared_secret(header: dict[str, Any], claims: str, key: dict[str, Any]) -> str:
    """Signed with what everyone knows: the published key."""
    signed = f"{part({**header, 'alg': 'HS256'})}.{claims}"
    public = jwt.PyJWK(key).key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signature = hmac.digest(public, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


FORGERIES: dict[str, Callable[[dict[str, Any], str, str, dict[str, Any]], str]] = {
    "unsigned": lambda header, claims, _, __: f"{part({**header, 'alg': 'none'})}.{claims}.",
    "without an algorithm": lambda header, claims, signature, _: f"{part({'kid': header['kid']})}.{claims}.{signature}",
    "algorithm is a list": lambda header, claims, signature, _: (
        f"{part({**header, 'alg': ['RS256']})}.{claims}.{signature}"
    ),
    "public key as a secret": lambda header, claims, _, key: as_a_shared_secret(header, claims, key),
    "another algorithm of the same key": lambda header, claims, signature, _: (
        f"{part({**header, 'alg': 'PS256'})}.{claims}.{signature}"
    ),
    "a key of another kind": lambda header, claims, signature, _: (
        f"{part({**header, 'alg': 'EdDSA'})}.{claims}.{signature}"
    ),
    "its own key in its header": lambda header, claims, signature, key: (
        f"{part({**header, 'kid': 'mine', 'jwk': key, 'jku': 'http://127.0.0.1:9/'})}.{claims}.{signature}"
    ),
    "for logging out": lambda header, claims, signature, _: (
        f"{part({**header, 'typ': 'logout+jwt'})}.{claims}.{signature}"
    ),
    "with a critical extension": lambda header, claims, signature, _: (
        f"{part({**header, 'crit': ['exp']})}.{claims}.{signature}"
    ),
    "other claims": lambda header, claims, signature, _: (
        f"{part(header)}.{part({'sub': 'ben', 'aud': 'page', 'exp': 1e11})}.{signature}"
    ),
    "too long": lambda header, claims, signature, _: f"{part({**header, 'x': 'x' * 8_192})}.{claims}.{signature}",
    "cut": lambda header, claims, signature, _: f"{part(header)}.{claims}",
}


@pytest.fixture(scope="module")
def guarded(provider: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A bot that takes ID tokens, which are RS256, and one of these."""
    configured = settings(
        tmp_path_factory.mktemp("guarded"), auth="oidc", oidc_issuer=provider.url, oidc_audience="page"
    )
    with served(configured) as url:
        yield url, provider.sign_in("anna").id_token


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_token_is_refused(guarded: tuple[str, str], provider: Issuer, name: str) -> None:
    url, token = guarded
    assert usage(url, token).status_code == 200
    _, claims, signature = token.split(".")
    [key] = [each for each in provider.public_keys() if each["kty"] == "RSA"]
    forged = FORGERIES[name](jwt.get_unverified_header(token), claims, signature, key)
    assert code(usage(url, forged)) == (401, "invalid_token")


def test_rotation_is_noticed_and_forged_key_ids_do_not_flood_the_issuer(
    home: Path, provider: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(trusting(home, provider.url)) as url:
        old = provider.sign_in("anna").access_token
        assert usage(url, old).status_code == 200
        provider.rotate()
        new = provider.sign_in("anna").access_token
        asked = provider.times_asked_for_keys()
        for _ in range(5):
            assert code(usage(url, new)) == (401, "invalid_token")
        assert provider.times_asked_for_keys() == asked  # we had asked just before
        monkeypatch.setattr(oidc, "REFETCH_SECONDS", 0.0)
        assert usage(url, new).status_code == 200
        assert code(usage(url, old)) == (401, "invalid_token")


def test_outage_of_the_issuer_is_ours_only_without_its_keys(
    home: Path, provider: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = provider.sign_in("anna").access_token
    with served(trusting(home, provider.url)) as url:
        provider.go_down()
        try:
            answer = usage(url, token)
            assert code(answer) == (503, "issuer_unavailable")
            assert int(answer.headers["retry-after"]) <= oidc.REFETCH_SECONDS
            assert code(httpx2.get(f"{url}/readyz")) == (503, "issuer_unavailable")
            monkeypatch.setattr(oidc, "REFETCH_SECONDS", 0.0)
            provider.come_up()
            assert usage(url, token).status_code == 200
            assert httpx2.get(f"{url}/readyz").status_code == 200
            provider.go_down()
            monkeypatch.setattr(oidc, "FRESH_SECONDS", 0.0)
            assert usage(url, token).status_code == 200
            monkeypatch.setattr(oidc, "STALE_SECONDS", 0.0)
            assert code(usage(url, token)) == (503, "issuer_unavailable")
        finally:
            provider.come_up()


def test_issuer_that_nobody_serves_is_named_while_access_keys_work(home: Path) -> None:
    with served(trusting(home, "http://127.0.0.1:9")) as url:
        header = part({"alg": "RS256", "kid": "x"})
        assert code(usage(url, f"{header}.e30.AA")) == (503, "issuer_unavailable")
        assert usage(url, KEY).status_code == 200


async def test_personal_access_key_works_beside_the_issuers_tokens(home: Path, provider: Issuer) -> None:
    configured = trusting(home, provider.url)
    store = open_store(configured)
    key = await issue_key(store, "carla", "laptop")
    with served(configured) as url:
        assert usage(url, key).status_code == 200
        assert httpx2.get(f"{url}/v1/me/export", headers={"x-api-key": key}).json()["user_id"] == "carla"
        await revoke_keys(store, "carla")
        assert code(usage(url, key)) == (403, "wrong_access_key")
    await store.close()


def test_sessions_are_the_issuers(home: Path, provider: Issuer) -> None:
    with served(trusting(home, provider.url)) as url:
        answer = httpx2.post(f"{url}/v1/sessions", json={}, headers={"x-api-key": KEY})
        assert code(answer) == (404, "not_found")


def test_page_learns_how_to_sign_in_and_may_call_the_issuer(home: Path, provider: Issuer) -> None:
    with served(trusting(home, provider.url, oidc_client_id="page", oidc_scopes="openid email")) as url:
        told = httpx2.get(f"{url}/v1/auth").json()
        policy = httpx2.get(url).headers["content-security-policy"]
    assert told == {
        "mode": "oidc",
        "issuer": provider.url,
        "audience": AUDIENCE,
        "client_id": "page",
        "scopes": ["openid", "email"],
    }
    assert f"connect-src 'self' {provider.url};" in policy


def test_page_of_a_bot_without_an_issuer_learns_its_mode(url: str) -> None:
    assert httpx2.get(f"{url}/v1/auth").json() == {"mode": "key"}
    assert "connect-src 'self';" in httpx2.get(url).headers["content-security-policy"]


@pytest.mark.parametrize(
    "address", ["http://issuer.example", "issuer.example", "https://", "ftp://127.0.0.1", "https://["]
)
def test_issuer_without_tls_is_refused_at_start(home: Path, address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        trusting(home, address)
    assert caught.value.setting == "WORDUP_OIDC_ISSUER"


def test_terminal_client_sends_the_access_key_where_there_are_no_sessions(home: Path, tmp_path: Path) -> None:
    with served(trusting(home, "http://127.0.0.1:9")) as url:
        told = wordup(tmp_path, "chat", "--url", url, "--key", KEY, "--json", "What is S3?")
    assert told.returncode == 0, told.stderr
    assert "S3" in json.loads(told.stdout)["message"]
