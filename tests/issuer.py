"""A real OpenID provider on this machine, and people who sign in with it: authorization code and PKCE, over HTTP."""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
import msgspec

from infra.local.azurite import NODE
from infra.local.emulator import free_port, running

AUDIENCE = "the-bot"
REDIRECT = "http://127.0.0.1/signed-in"


class Tokens(msgspec.Struct, frozen=True):
    id_token: str
    access_token: str


class Issuer:
    def __init__(self, url: str) -> None:
        self.url = url

    def sign_in(self, person: str, *, client: str = "page", resource: str = "urn:bot") -> Tokens:
        """As a browser does: to the provider, through its pages, back with a code, and with that for the tokens."""
        verifier = secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {"client_id": client, "response_type": "code", "scope": "openid", "redirect_uri": REDIRECT}
        query |= {"code_challenge": challenge, "code_challenge_method": "S256", "resource": resource}
        with httpx2.Client(base_url=self.url) as browser:
            answer = browser.get("/auth", params=query)
            while not (location := answer.headers.get("location", "")).startswith(REDIRECT):
                if location:
                    answer = browser.get(urljoin(str(answer.url), location))
                else:
                    form = dict(re.findall(r'name="(prompt)" value="(\w+)"', answer.text))
                    action = re.findall(r'action="([^"]+)"', answer.text)[0]
                    answer = browser.post(action, data={**form, "login": person, "password": "any"})
            code = parse_qs(urlsplit(location).query)["code"][0]
            grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "client_id": client}
            got = browser.post("/token", data={**grant, "code_verifier": verifier}).raise_for_status()
        return msgspec.convert(got.json(), Tokens)

    def rotate(self) -> None:
        """New keys; the old ones are gone."""
        self._test("rotate")

    def go_down(self) -> None:
        self._test("down")

    def come_up(self) -> None:
        self._test("up")

    def times_asked_for_keys(self) -> int:
        return self._test("asked").get("/jwks", 0)

    def public_keys(self) -> list[dict[str, Any]]:
        return httpx2.get(f"{self.url}/jwks").json()["keys"]

    def _test(self, what: str) -> dict[str, int]:
        return httpx2.get(f"{self.url}/test/{what}").raise_for_status().json()


@contextmanager
def issuer(folder: Path) -> Iterator[Issuer]:
    port = free_port()
    script = Path(__file__).with_suffix(".mjs")
    with running("The OpenID provider", [NODE, script, str(port), AUDIENCE], folder, port=port):
        yield Issuer(f"http://127.0.0.1:{port}")
