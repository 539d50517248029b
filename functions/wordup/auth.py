"""Who is asking. A personal access key opens a session; a session token, signed by us, names the user.

Access keys are stored hashed (`key:` partition) and referred to from their user's partition, so that a user's erasure
finds them without a scan. Signing keys rotate: a token names its key (`kid`), any key of the ring verifies, the
active one signs.
"""

import hmac
import secrets
import time
from collections.abc import Callable

import jwt
import msgspec

from wordup import keys
from wordup.config import Settings
from wordup.errors import ExpiredToken, InvalidToken, MissingToken, NotFound, WrongAccessKey
from wordup.keyring import KeyRing
from wordup.stores.base import Delete, Put, Store, every

ISSUER = "wordup"
KEY_PREFIX = "wu_"
OWNER = "owner"
_ALGORITHM = "HS256"


class User(msgspec.Struct, frozen=True):
    """`id` is the subject as its issuer names it; `pk` the partition that holds everything about the user."""

    id: str
    pk: str


class Session(msgspec.Struct, frozen=True):
    """`expires_at` in seconds since the epoch."""

    token: str
    user_id: str
    expires_at: int


class AccessKey(msgspec.Struct, frozen=True):
    user: str
    name: str
    created: int
    revoked: bool


class Authenticator:
    """Raises MissingToken, InvalidToken, ExpiredToken, WrongAccessKey."""

    def __init__(
        self, store: Store, settings: Settings, ring: KeyRing, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._settings = settings
        self._ring = ring
        self._clock = clock

    async def user(self, authorization: str | None) -> User:
        """The user of an `Authorization` header."""
        if self._settings.auth == "open":
            return named("local")
        claims = await self._claims(_bearer(authorization))
        return named(claims["sub"])

    async def open_session(self, access_key: str | None, authorization: str | None) -> Session:
        """A new token for an access key, or for a token that is still valid and whose key was not revoked."""
        if self._settings.auth == "oidc":
            raise NotFound("Sessions are the issuer's here.", mend="Send the issuer's own token.")
        if access_key:
            partition = keys.access_key(access_key)
        elif self._settings.auth == "open":
            return await self._sign("local", "")
        elif authorization:
            partition = (await self._claims(_bearer(authorization)))["key"]
        else:
            raise MissingToken("No access key was sent.", mend="Send it in the X-Api-Key header.")
        return await self._sign(await self._holder(partition), partition)

    async def check(self) -> None:
        """Raises SecretUnavailable where the signing key cannot be read."""
        await self._ring.signing_key()

    async def _holder(self, partition: str) -> str:
        """The user whose key this is."""
        if self._settings.access_key:
            owner = keys.access_key(self._settings.access_key)
            if hmac.compare_digest(owner, partition):
                return OWNER
        row = await self._store.get(partition, keys.KEY)
        if row is None or row.data["revoked"]:
            raise WrongAccessKey
        return row.data["user"]

    async def _sign(self, subject: str, partition: str) -> Session:
        kid, key = await self._ring.signing_key()
        now = int(self._clock())
        expires = now + self._settings.session_minutes * 60
        claims = {"iss": ISSUER, "sub": subject, "key": partition, "iat": now, "exp": expires}
        token = jwt.encode(claims, key, _ALGORITHM, headers={"kid": kid})
        return Session(token, subject, expires)

    async def _claims(self, token: str) -> dict[str, str]:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = await self._ring.verifying_key(kid) if isinstance(kid, str) else None
            if key is None:
                raise InvalidToken
            # The times are compared with our own clock below.
            claims = jwt.decode(
                token,
                key,
                [_ALGORITHM],
                issuer=ISSUER,
                options={"require": ["exp", "sub", "key"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.PyJWTError as error:
            raise InvalidToken from error
        if claims["exp"] <= self._clock():
            raise ExpiredToken
        return claims


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
