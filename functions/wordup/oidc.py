"""Tokens of an OpenID Connect issuer, verified with the keys that it publishes. Any issuer: found by discovery.

The keys are read at the first token, again when they are no longer fresh, and at once for a token that names a key
which we do not know yet: so a rotation logs nobody out. Forged key ids cannot make us ask more often than every
REFETCH_SECONDS. Only algorithms with a public key are taken, and a key only for its own: a token that was signed with
the published key as if that were a shared secret is refused before any key is looked at (RFC 8725, sections 2.1, 3.1).
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from typing import Annotated, Any

import httpx2
import jwt
import msgspec
from msgspec import Meta

from wordup import logs
from wordup.config import is_protected
from wordup.errors import ExpiredToken, InvalidToken, IssuerUnavailable

# Each with the kind of key that it takes (RFC 7518, section 3.1; RFC 8037).
ALGORITHMS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
# What a token may say that it is (RFC 9068 names access tokens): others, as a logout token, are for something else.
TYPES = {"", "jwt", "at+jwt", "application/at+jwt"}
TOKEN_BYTES = 8_192  # API Gateway takes 10,240 bytes of headers all together
SKEW_SECONDS = 60  # how far the issuer's clock may be from ours
FRESH_SECONDS = 300.0
# Keys that cannot be read anew still hold for so long: the issuer's outage is not ours.
STALE_SECONDS = 3_600.0
REFETCH_SECONDS = 10.0
FETCH_SECONDS = 5.0
DOCUMENT_BYTES = 262_144
WELL_KNOWN = "/.well-known/openid-configuration"

_ORIGIN = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
_SIGN_IN = "Sign in with the issuer again."


class _Claims(msgspec.Struct, frozen=True):
    """Times in seconds since the epoch. A subject has at most 255 characters (OpenID Connect Core, section 2)."""

    sub: Annotated[str, Meta(min_length=1, max_length=255)]
    exp: float
    nbf: float = 0
    iat: float = 0


class _Discovery(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str
    token_endpoint: str = ""


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


class _Published:
    """What the issuer had published at the time `read`, on our ticking clock."""

    def __init__(self, discovery: _Discovery, keys: list[dict[str, Any]], read: float) -> None:
        self.discovery = discovery
        self.read = read
        self._keys = keys
        self._made: dict[tuple[str | None, str], jwt.PyJWK] = {}

    def names(self, kid: str | None) -> bool:
        return kid is None or any(key.get("kid") == kid for key in self._keys)

    def key(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """The one key of that id, or the only one for a token that names none. Raises InvalidToken, PyJWTError."""
        if (kid, algorithm) not in self._made:
            fitting = [each for each in self._keys if kid in (None, each.get("kid")) and _fits(each, algorithm)]
            if len(fitting) != 1:
                raise InvalidToken("The token names no key of its issuer.", mend=_SIGN_IN)
            self._made[kid, algorithm] = jwt.PyJWK(fitting[0], algorithm)
        return self._made[kid, algorithm]


def _fits(key: dict[str, Any], algorithm: str) -> bool:
    return (
        key.get("kty") == ALGORITHMS[algorithm]
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
    )


class Issuer:
    """Connects nothing before the first token. `clock` tells the time, `ticks` how old the keys are, in seconds."""

    def __init__(
        self,
        url: str,
        audience: str,
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self._audience = audience
        self._clock = clock
        self._ticks = ticks
        self._published: _Published | None = None
        self._tried = -REFETCH_SECONDS
        self._reading = asyncio.Lock()

    async def subject(self, token: str) -> str:
        """Whom the token names. Raises InvalidToken, ExpiredToken, IssuerUnavailable."""
        if len(token) > TOKEN_BYTES:
            raise InvalidToken(f"The token is longer than {TOKEN_BYTES:,} bytes.", mend=_SIGN_IN)
        try:
            header = jwt.get_unverified_header(token)
            algorithm, kid = str(header.get("alg")), header.get("kid")
            if algorithm not in ALGORITHMS or str(header.get("typ", "")).lower() not in TYPES:
                raise InvalidToken("The token is of a kind that is not taken.", mend=_SIGN_IN)
            claims = jwt.decode(
                token,
                (await self._current(kid)).key(kid, algorithm),
                [algorithm],
                audience=self._audience,
                issuer=self.url,
                # The times are compared with our own clock below.
                options={
                    "require": ["exp", "iss", "aud", "sub"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "enforce_minimum_key_length": True,
                },
            )
            found = msgspec.convert(claims, _Claims)
        except (jwt.PyJWTError, msgspec.ValidationError) as error:
            raise InvalidToken("The token is not valid here.", mend=_SIGN_IN) from error
        now = self._clock()
        if found.exp + SKEW_SECONDS <= now:
            raise ExpiredToken("The token has expired.", mend=_SIGN_IN)
        if max(found.nbf, found.iat) - SKEW_SECONDS > now:
            raise InvalidToken("The token is not valid yet.", mend="Set the clocks of the issuer and of the bot.")
        return found.sub

    async def check(self) -> None:
        """Raises IssuerUnavailable where its keys cannot be read."""
        await self._current(None)

    async def origins(self) -> list[str]:
        """Where a page that signs in with this issuer connects to: the issuer, and the endpoint that gives tokens."""
        found = [self.url]
        try:
            found.append((await self._current(None)).discovery.token_endpoint)
        except IssuerUnavailable as error:
            logs.write(logging.WARNING, "issuer_unavailable", cause=type(error.__cause__).__name__)
        return sorted({match[0] for url in found if (match := _ORIGIN.match(url))})

    async def _current(self, kid: str | None) -> _Published:
        """The keys: fresh, and read after `kid` came up if it is new."""
        known = self._published
        # One reads anew, the others need not wait for it.
        enough = STALE_SECONDS if self._reading.locked() else FRESH_SECONDS
        if known is not None and known.names(kid) and self._is_younger(known, enough):
            return known
        async with self._reading:
            if self._published is not known:
                return self._published or await self._read()
            return await self._read()

    async def _read(self) -> _Published:
        old, now = self._published, self._ticks()
        usable = old if old is not None and self._is_younger(old, STALE_SECONDS) else None
        if (waited := now - self._tried) < REFETCH_SECONDS:
            if usable:
                return usable
            raise IssuerUnavailable(retry_after=round(REFETCH_SECONDS - waited))
        self._tried = now
        try:
            discovery = await self._fetch(self.url.rstrip("/") + WELL_KNOWN, _Discovery)
            if discovery.issuer != self.url or not is_protected(discovery.jwks_uri):
                raise IssuerUnavailable("The issuer describes itself under another name, or without TLS.")
            keys = (await self._fetch(discovery.jwks_uri, _KeySet)).keys
        except IssuerUnavailable as error:
            if not usable:
                raise
            logs.write(logging.WARNING, "issuer_unavailable", cause=type(error.__cause__).__name__)
            return usable
        self._published = _Published(discovery, keys, now)
        return self._published

    async def _fetch[T](self, url: str, kind: type[T]) -> T:
        """No redirect is followed, and nothing is unpacked: what comes is as long as it says."""
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        content = bytearray()
        try:
            async with (
                asyncio.timeout(FETCH_SECONDS),
                httpx2.AsyncClient(timeout=FETCH_SECONDS) as client,
                client.stream("GET", url, headers=headers) as response,
            ):
                if response.status_code != 200:
                    raise IssuerUnavailable(f"The issuer answers with status {response.status_code}.")
                async for chunk in response.aiter_raw():
                    content += chunk
                    if len(content) > DOCUMENT_BYTES:
                        raise IssuerUnavailable("The issuer's answer is too long.")
            return msgspec.json.decode(content, type=kind)
        except (httpx2.HTTPError, TimeoutError) as error:
            raise IssuerUnavailable from error
        except msgspec.DecodeError as error:
            raise IssuerUnavailable("The issuer's answer is not what OpenID Connect asks for.") from error

    def _is_younger(self, published: _Published, seconds: float) -> bool:
        return self._ticks() - published.read < seconds
