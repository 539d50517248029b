"""The keys that sign session tokens, and secrets by reference, cached at most five minutes.

The signing secret is JSON: `{"active": "<kid>", "keys": {"<kid>": "<base64url>", ...}}`. To rotate, add a key; when
every instance has read it (the cache's five minutes), make it active; remove the old one after a session's lifetime.
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


class _Ring(msgspec.Struct, frozen=True):
    active: str
    keys: dict[str, str]


class SecretReader:
    """Reads `<scheme>:<name>#<field>` through the adapter of its scheme."""

    def __init__(self, adapters: Mapping[str, Secrets], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._adapters = adapters
        self._clock = clock
        self._cache: dict[str, tuple[float, str]] = {}

    async def read(self, reference: str, *, newest: bool = False) -> str:
        """The secret's text, or its field's. `newest` looks past the cache. Raises SecretUnavailable."""
        location, _, field = reference.partition("#")
        now = self._clock()
        age, text = self._cache.get(location, (-CACHE_SECONDS, ""))
        if now - age >= (REFETCH_SECONDS if newest else CACHE_SECONDS):
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

    async def _read(self, *, newest: bool = False) -> _Ring:
        text = await self._reader.read(self._reference, newest=newest)
        try:
            ring = msgspec.json.decode(text, type=_Ring)
        except msgspec.DecodeError as error:
            raise SecretUnavailable("The signing secret is not a key ring.") from error
        if ring.active not in ring.keys:
            raise SecretUnavailable("The signing secret's active key is missing.")
        return ring


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def new_ring() -> str:
    """A fresh signing secret with one key of 256 bits, as JSON."""
    kid = random.token_hex(4)
    return msgspec.json.encode(_Ring(kid, {kid: random.token_urlsafe(32)})).decode()


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
