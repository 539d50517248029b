"""The keys that sign session tokens, and secrets by reference, cached at most five minutes.

The signing secret is JSON: `{"active": "<kid>", "keys": {"<kid>": "<base64url>", ...}}`. To rotate, publish a key; when
every instance has read it (the cache's five minutes), activate it; the old one goes when no session of it is left.
"""

import base64
import os
import secrets as random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from wordup.errors import ConfigurationError, SecretUnavailable
from wordup.secrets.base import Secrets

CACHE_SECONDS = 300.0
# An unknown kid makes us read again, but a flood of forged kids must not become a flood of reads.
REFETCH_SECONDS = 5.0
# The longest life of a session (Settings.session_minutes), and time for instances to learn that a key was retired.
RETIRED_SECONDS = 86_400 + 2 * CACHE_SECONDS


class Ring(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`active` signs, every key verifies. `upcoming` is published and signs next. `changed`: when a key was published
    or, for one that no longer signs, retired, in seconds since the epoch."""

    active: str
    keys: dict[str, str]
    upcoming: str | None = None
    changed: dict[str, int] = {}

    @classmethod
    def new(cls) -> "Ring":
        """With one key of 256 bits."""
        kid = random.token_hex(4)
        return cls(active=kid, keys={kid: random.token_urlsafe(32)})

    def published(self, now: float) -> "Ring":
        """With one key more, which verifies and does not sign yet, and without those that no session can have."""
        kept = {kid: key for kid, key in self.keys.items() if not self._is_over(kid, now)}
        kid = random.token_hex(4)
        changed = {each: moment for each, moment in self.changed.items() if each in kept}
        return Ring(
            active=self.active,
            keys={**kept, kid: random.token_urlsafe(32)},
            upcoming=kid,
            changed={**changed, kid: int(now)},
        )

    def activated(self, now: float) -> "Ring":
        """With the published key signing; the one that signed until now still verifies."""
        assert self.upcoming is not None
        return Ring(active=self.upcoming, keys=self.keys, changed={**self.changed, self.active: int(now)})

    def signs_at(self) -> int:
        """When every instance has read the upcoming key, in seconds since the epoch."""
        assert self.upcoming is not None
        return self.changed[self.upcoming] + int(CACHE_SECONDS)

    def _is_over(self, kid: str, now: float) -> bool:
        return kid != self.active and now - self.changed.get(kid, now) > RETIRED_SECONDS


class SecretReader:
    """Reads `<scheme>:<name>#<field>` through the adapter of its scheme.

    By the clock on the wall: a function that is frozen between two requests may find the monotonic one where it was.
    """

    def __init__(self, adapters: Mapping[str, Secrets], *, clock: Callable[[], float] = time.time) -> None:
        self._adapters = adapters
        self._clock = clock
        self._cache: dict[str, tuple[float, str]] = {}

    async def read(self, reference: str, *, newest: bool = False) -> str:
        """The secret's text, or its field's. `newest` looks past the cache. Raises SecretUnavailable."""
        location, _, field = reference.partition("#")
        now = self._clock()
        came, text = self._cache.get(location, (-CACHE_SECONDS, ""))
        if not 0 <= now - came < (REFETCH_SECONDS if newest else CACHE_SECONDS):  # below 0 somebody set the clock
            scheme, _, name = location.partition(":")
            if scheme not in self._adapters:
                known = ", ".join(sorted(self._adapters))
                raise SecretUnavailable(f"No secret store is called {scheme!r}.", mend=f"Known: {known}.")
            text = await self._adapters[scheme].read(name)
            self._cache[location] = (now, text)
        return _field(text, field) if field else text


def _field(text: str, field: str) -> str:
    try:
        value: Any = msgspec.json.decode(text, type=dict[str, Any])[field]
    except (msgspec.DecodeError, KeyError) as error:
        raise SecretUnavailable(f"The secret has no field {field!r}.") from error
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


class KeyRing:
    """`reference` names the signing secret."""

    def __init__(self, reader: SecretReader, reference: str) -> None:
        self._reader = reader
        self._reference = reference
        self._last: tuple[str, Ring] | None = None

    async def signing_key(self) -> tuple[str, bytes]:
        """The active key's id and bytes. Raises SecretUnavailable."""
        ring = await self._read()
        return ring.active, _bytes(ring.keys[ring.active])

    async def verifying_key(self, kid: str) -> bytes | None:
        """The bytes of a key of the ring, read again where the id is new; None for a stranger's id."""
        ring = await self._read()
        if kid not in ring.keys:
            ring = await self._read(newest=True)
        return _bytes(ring.keys[kid]) if kid in ring.keys else None

    async def _read(self, *, newest: bool = False) -> Ring:
        text = await self._reader.read(self._reference, newest=newest)
        if self._last is None or self._last[0] != text:
            self._last = text, _ring(text)
        return self._last[1]


def _ring(text: str) -> Ring:
    try:
        ring = msgspec.json.decode(text, type=Ring)
    except msgspec.DecodeError as error:
        raise SecretUnavailable("The signing secret is not a key ring.") from error
    if ring.active not in ring.keys:
        raise SecretUnavailable("The signing secret's active key is missing.")
    return ring


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def new_ring() -> str:
    """A fresh signing secret, as JSON."""
    return msgspec.json.encode(Ring.new()).decode()


def ring_file(path: Path) -> Path:
    """Makes the self-hosted home's signing secret where there is none, readable by its owner alone. Raises
    ConfigurationError where the folder cannot be made or written."""
    try:
        return _made(path)
    except OSError as error:
        raise ConfigurationError(
            "WORDUP_DATA_DIR",
            f"The data folder {path.parent} cannot be written: {error.strerror}.",
            mend="Name a folder of yours in WORDUP_DATA_DIR, or make that one writable.",
        ) from error


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(new_ring())
        os.link(draft, path)  # two processes starting together agree on the first one's
    except FileExistsError:
        return path
    finally:
        draft.unlink(missing_ok=True)
    return path
