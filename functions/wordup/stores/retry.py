"""Backoff with full jitter for what passes by itself: throttling, lost optimistic races, broken connections."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from wordup.errors import StoreUnavailable

T = TypeVar("T")


class Again(Exception):
    """Raised inside a call that may be repeated as it is; its `__cause__` is the vendor's error."""


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """Waits between two attempts a random time from 0 to `base_seconds` doubled each time, at most `cap_seconds`.

    Full jitter, because callers who were throttled together would otherwise come back together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """

    attempts: int = 8
    base_seconds: float = 0.025
    cap_seconds: float = 1.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """`call`'s result. Raises StoreUnavailable after the last attempt; any error but Again passes through."""
        cause: BaseException | None = None
        for attempt in range(self.attempts):
            if attempt:
                bound = min(self.cap_seconds, self.base_seconds * 2 ** (attempt - 1))
                await self.sleep(self.uniform(0, bound))
            try:
                return await call()
            except Again as again:
                cause = again.__cause__
        raise StoreUnavailable from cause
