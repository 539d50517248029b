"""Who is asking. A personal access key names its user, or opens a session, whose token, signed by us, does; in `oidc`
mode there are no sessions, but the tokens of an issuer.

Access keys are stored hashed (`key:` partition) and referred to from their user's partition, so that a user's erasure
finds them without a scan. Signing keys rotate: a token names its key (`kid`), any key of the ring verifies, the
active one signs.
"""

import asyncio
import base64
import binascii
import functools
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import itsdangerous
import msgspec

from wordup import keys
from wordup.config import Settings
from wordup.errors import ExpiredToken, InvalidToken, MissingToken, NotFound, WrongAccessKey
from wordup.keyring import KeyRing
from wordup.limits import AddressLimit
from wordup.stores.base import Delete, Put, Store, every

if TYPE_CHECKING:  # only the `oidc` mode pays for what it imports
    from wordup.oidc import Issuer

ISSUER = "wordup"
KEY_PREFIX = "wu_"
OWNER = "owner"


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a request came with: two headers, and the address that its home vouches for."""

    authorization: str | None = None
    access_key: str | None = None
    address: str = ""


class User(msgspec.Struct, frozen=True):
    """`id` is the subject as its issuer names it; `pk` the partition that holds everything about the user."""

    id: str
    pk: str


class Session(msgspec.Struct, frozen=True):
    """`expires_at` in seconds since the epoch."""

    token: str
    user_id: str
    expires_at: int


class _Claims(msgspec.Struct, frozen=True):
    """What a session token says. `key` is the partition of the access key that opened it."""

    sub: str
    key: str
    exp: int


class AccessKey(msgspec.Struct, frozen=True):
    user: str
    name: str
    created: int
    revoked: bool


class Authenticator:
    """Raises MissingToken, InvalidToken, ExpiredToken, WrongAccessKey, RateLimited, IssuerUnavailable. `issuer` is
    that of the `oidc` mode."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        ring: KeyRing,
        sign_ins: AddressLimit,
        issuer: "Issuer | None" = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._ring = ring
        self._sign_ins = sign_ins
        self._issuer = issuer
        self._clock = clock
        self._owners = keys.access_key(settings.access_key) if settings.access_key else ""

    async def user(self, sent: Credentials) -> User:
        """By an access key, in a header of its own or as the bearer's token; by the issuer's token; by a session's."""
        if self._settings.auth == "open":
            return named("local")
        if sent.access_key:
            return await self._user_of_key(sent.access_key, sent.address)
        token = _bearer(sent.authorization)
        if token.startswith(KEY_PREFIX) or self._is_owners(keys.access_key(token)):
            return await self._user_of_key(token, sent.address)
        if self._issuer is not None:
            subject = await self._issuer.subject(token)
            return User(subject, keys.user(self._issuer.url, subject))
        return named((await self._claims(token)).sub)

    async def check_operator(self, sent: Credentials) -> None:
        """Raises NotFound for everyone but the owner, and in `open` mode for no one."""
        if self._settings.auth != "open" and await self.user(sent) != named(OWNER):
            raise NotFound

    async def open_session(self, sent: Credentials) -> Session:
        """A new token for an access key, or for a token that is still valid and whose key was not revoked."""
        if self._settings.auth == "oidc":
            raise NotFound("Sessions are the issuer's here.", mend="Send the issuer's own token, or an access key.")
        if self._settings.auth == "open" and not sent.access_key:
            return await self._sign("local", "")
        await self._sign_ins.count(sent.address)
        if sent.access_key:
            partition = keys.access_key(sent.access_key)
        elif sent.authorization:
            partition = (await self._claims(_bearer(sent.authorization))).key
        else:
            raise MissingToken("No access key was sent.", mend="Send it in the X-Api-Key header.")
        if (holder := await self._holder(partition)) is None:
            raise WrongAccessKey
        return await self._sign(holder, partition)

    async def check(self) -> None:
        """Raises SecretUnavailable where the signing key cannot be read, IssuerUnavailable."""
        await self._ring.signing_key()
        if self._issuer is not None:
            await self._issuer.check()

    async def sign_in_origins(self) -> list[str]:
        """Where a page that signs its user in connects to, beside the bot."""
        return [] if self._issuer is None else await self._issuer.origins()

    async def _user_of_key(self, key: str, address: str) -> User:
        """Who tries too many keys is not told of the right one either."""
        partition = keys.access_key(key)
        if self._is_owners(partition):
            await self._sign_ins.check(address)
            return named(OWNER)
        holder, _ = await asyncio.gather(self._holder(partition), self._sign_ins.check(address))
        if holder is None:
            await self._sign_ins.count(address)
            raise WrongAccessKey
        return named(holder)

    async def _holder(self, partition: str) -> str | None:
        """The user whose key this is."""
        if self._is_owners(partition):
            return OWNER
        row = await self._store.get(partition, keys.KEY)
        return None if row is None or row.data["revoked"] else row.data["user"]

    def _is_owners(self, partition: str) -> bool:
        return bool(self._owners) and hmac.compare_digest(self._owners, partition)

    async def _sign(self, subject: str, partition: str) -> Session:
        kid, key = await self._ring.signing_key()
        expires = int(self._clock()) + self._settings.session_minutes * 60
        claims = msgspec.json.encode(_Claims(subject, partition, expires))
        payload = base64.urlsafe_b64encode(claims).rstrip(b"=").decode()
        return Session(_signer(key).sign(f"{kid}.{payload}").decode(), subject, expires)

    async def _claims(self, token: str) -> _Claims:
        kid, _, _ = token.partition(".")
        key = await self._ring.verifying_key(kid)
        if key is None:
            raise InvalidToken
        try:
            payload = _signer(key).unsign(token).partition(b".")[2]
            claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + b"=="), type=_Claims)
        except (itsdangerous.BadSignature, binascii.Error, msgspec.DecodeError) as error:
            raise InvalidToken from error
        if claims.exp <= self._clock():
            raise ExpiredToken
        return claims


def _signer(key: bytes) -> itsdangerous.Signer:
    return itsdangerous.Signer(key, salt=b"session", key_derivation="hmac", digest_method=hashlib.sha256)


@functools.lru_cache(256)
def named(subject: str) -> User:
    """A user of this deployment's own access keys."""
    return User(subject, keys.user(ISSUER, subject))


def _bearer(authorization: str | None) -> str:
    if not authorization:
        raise MissingToken
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise MissingToken("The Authorization header is not `Bearer <token>`.")
    return token.strip()


async def issue_key(store: Store, user: str, name: str, *, now: float | None = None) -> str:
    """Makes a personal access key and returns it, the only time it is readable. Lifts the user's erasure."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    await register_key(store, key, user, name, now=now)
    return key


async def register_key(store: Store, key: str, user: str, name: str, *, now: float | None = None) -> None:
    """Stores a key that was made elsewhere."""
    created = int(time.time() if now is None else now)
    partition = keys.access_key(key)
    # The reference first: a key without one would outlive its user's erasure.
    await store.write(named(user).pk, [Put(sk=partition, data={"name": name}), Delete(sk=keys.ERASED)])
    data = {"user": user, "name": name, "created": created, "revoked": False}
    await store.write(partition, [Put(sk=keys.KEY, data=data)])


async def revoke_keys(store: Store, user: str, name: str | None = None) -> int:
    """Revokes a user's keys, or the one of that name; tells how many. Open sessions end within their lifetime."""
    revoked = 0
    async for reference in every(store, named(user).pk, "key:"):
        if name is not None and reference.data["name"] != name:
            continue
        row = await store.get(reference.sk, keys.KEY)
        if row and not row.data["revoked"]:
            await store.write(row.pk, [Put(sk=keys.KEY, data={**row.data, "revoked": True})])
            revoked += 1
    return revoked


async def list_keys(store: Store) -> list[AccessKey]:
    """Every access key, for the operator."""
    found: list[AccessKey] = []
    cursor = None
    while True:
        page = await store.scan("key:", limit=100, cursor=cursor)
        found += [msgspec.convert(row.data, AccessKey) for row in page.rows]
        if (cursor := page.cursor) is None:
            return sorted(found, key=lambda key: (key.user, key.created, key.name))
