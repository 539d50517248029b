"""Erase-me: everything about a user goes, and nothing comes back after it."""

import time
from collections.abc import Callable

from wordup import keys
from wordup.auth import User
from wordup.config import Settings
from wordup.stores.base import Delete, Put, Store, delete_all, every

# A token lives at most a day (Settings.session_minutes), a turn at most a lease of an hour: after that nobody writes.
TOMBSTONE_SECONDS = 2 * keys.DAY_SECONDS


class Erasure:
    def __init__(self, store: Store, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    async def erase(self, user: User) -> None:
        """The tombstone first: a turn that begins later sees it, one that runs already finds its hold deleted, so
        neither records anything. Repeat it when it was cut short. What stays are counters that name no user."""
        tombstone = Put(sk=keys.ERASED, expires_at=int(self._clock()) + TOMBSTONE_SECONDS)
        await self._store.write(user.pk, [tombstone])
        async for reference in every(self._store, user.pk, "key:"):
            await self._store.write(reference.sk, [Delete(sk=keys.KEY)])
        await delete_all(self._store, user.pk, "", keep=keys.ERASED)
