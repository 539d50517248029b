"""Requests a minute, money a day: counted and reserved before anything is spent.

A reservation is a counter raised by a turn's worst case together with a `hold` row that says so, in one write; the
end of the turn lowers the counter to what was really spent and removes the hold. A process that dies leaves its hold;
once the hold's lease is over, `sweep` gives its amount back, before anybody is refused for lack of money.

The deployment's counter would be one hot row for every user, so an instance reserves on it by blocks and spends a
block locally; what a block spent stands in its own row at the end of every turn: a dead instance's spending is known.
"""

import asyncio
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from wordup import keys
from wordup.config import MicroUSD, Settings
from wordup.errors import BudgetExceeded, CeilingReached, ConditionFailed, RateLimited, WordUpError
from wordup.ids import ulid
from wordup.keyring import KeyRing
from wordup.stores.base import Add, Delete, Operation, Put, Row, Store, every

# A block holds this many turns like the one that asked for it, if the budget has as much left.
BLOCK_TURNS = 4
# Holds outlive their lease in the table, for a sweep to find them: the database's own expiry would lose the amount.
HOLD_SECONDS = 2 * keys.DAY_SECONDS


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn really took. Micro-dollars and tokens."""

    micros: MicroUSD = 0
    input_tokens: int = 0
    output_tokens: int = 0


class UserLimits:
    """A user's own limits: rows in the user's partition, so that they join the turn's writes."""

    def __init__(self, store: Store, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    def admission(self, turn_id: str, worst: MicroUSD, now: float) -> list[Operation]:
        """Counts the request and reserves `worst`; part of the write that claims the Idempotency-Key."""
        day = keys.day(now)
        return [
            Add(
                sk=keys.minute_counter(now),
                counts={"requests": 1},
                ceilings={"requests": self._settings.rate_limit_per_minute},
                expires_at=int(now) + 120,
            ),
            Add(
                sk=keys.day_counter(day),
                counts={"requests": 1, "micros": worst},
                ceilings={"micros": self._settings.user_daily_micros},
                expires_at=int(now) + keys.DAY_COUNTER_SECONDS,
            ),
            _hold(turn_id, day, worst, now, self._settings.lease_seconds),
        ]

    def settlement(self, hold: Row, usage: Usage) -> list[Operation]:
        """Lowers the reservation to what was spent and removes the hold, which must still be there."""
        counts = {
            "micros": usage.micros - hold.data["micros"],
            "input": usage.input_tokens,
            "output": usage.output_tokens,
        }
        day = keys.day_counter(hold.data["day"])
        return [Add(sk=day, counts=counts), Delete(sk=hold.sk, must_exist=True)]

    def late_settlement(self, hold: Row, usage: Usage) -> list[Operation]:
        """The same for a turn that outlived its lease, whose hold was swept: all of it is spent anew."""
        counts = {"micros": usage.micros, "input": usage.input_tokens, "output": usage.output_tokens}
        return [Add(sk=keys.day_counter(hold.data["day"]), counts=counts)]

    def release(self, hold: Row, *, usage: Usage | None = None) -> list[Operation]:
        """Gives back what a turn that came to nothing had taken; `usage` is what the provider charges all the same."""
        operations = self.settlement(hold, usage or Usage())
        if usage is None:
            first = operations[0]
            assert isinstance(first, Add)
            operations[0] = msgspec.structs.replace(first, counts={**first.counts, "requests": -1})
        return operations

    def refusal(self, error: CeilingReached) -> RateLimited | BudgetExceeded:
        now = self._clock()
        if error.field == "requests":
            limit = self._settings.rate_limit_per_minute
            return RateLimited(f"More than {limit} messages in a minute.", retry_after=60 - int(now) % 60)
        return BudgetExceeded("Your budget for today is spent.", retry_after=keys.seconds_to_midnight(now))

    async def sweep(self, pk: str) -> bool:
        """Gives back the reservations of turns whose lease is over; True where there was one."""
        return await sweep(self._store, pk, self._clock())


class AddressLimit:
    """Sessions opened and wrong access keys tried, a minute and network address, on every instance together. The store
    knows an address by a hash only, whose key is the one that signs sessions."""

    def __init__(
        self, store: Store, settings: Settings, ring: KeyRing, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._ceiling = settings.sign_ins_per_minute
        self._ring = ring
        self._clock = clock

    async def count(self, address: str) -> None:
        """Raises RateLimited where there were too many before this one."""
        now = self._clock()
        counter = Add(
            sk=keys.minute_counter(now),
            counts={"sign_ins": 1},
            ceilings={"sign_ins": self._ceiling},
            expires_at=int(now) + 120,
        )
        try:
            await self._store.add(await self._partition(address), counter)
        except CeilingReached:
            raise self._refusal(now) from None

    async def check(self, address: str) -> None:
        """Raises RateLimited where another one would be too many."""
        now = self._clock()
        row = await self._store.get(await self._partition(address), keys.minute_counter(now))
        if row is not None and row.counts.get("sign_ins", 0) >= self._ceiling:
            raise self._refusal(now)

    async def _partition(self, address: str) -> str:
        _, key = await self._ring.signing_key()
        return keys.address(hmac.digest(key, b"address " + address.encode(), "sha256"))

    def _refusal(self, now: float) -> RateLimited:
        return RateLimited("Too many attempts to sign in from this network.", retry_after=60 - int(now) % 60)


class Share(msgspec.Struct, frozen=True):
    """A turn's part of a block."""

    block: "Block"
    micros: MicroUSD


class Block:
    """An amount of the deployment's budget leased by this instance. Micro-dollars."""

    def __init__(self, pk: str, hold: Put, opened: float) -> None:
        self.pk = pk
        self.sk = hold.sk
        self.day: str = hold.data["day"]
        self.amount: MicroUSD = hold.data["micros"]
        self.opened = opened
        self.reserved: MicroUSD = 0
        self.spent: MicroUSD = 0
        self.written: MicroUSD = 0
        self.turns = 0

    @property
    def free(self) -> MicroUSD:
        return self.amount - self.reserved - self.spent


class DeploymentBudget:
    """The day's money of all users together. One object per process. Where that process is the only one and is never
    frozen it `keeps` its block between turns, and gives it back when it is closed."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        shards: int = 1,
        keeps: bool = False,
    ) -> None:
        self._store = store
        self._keeps = keeps
        self._ceiling = settings.deployment_daily_micros // shards
        self._lease_seconds = settings.lease_seconds
        self._clock = clock
        self._shards = shards
        self._block: Block | None = None
        self._lock = asyncio.Lock()

    async def reserve(self, micros: MicroUSD) -> Share:
        """Raises BudgetExceeded. Every share must come back through `settle`."""
        async with self._lock:
            if self._block is not None and not self._serves(self._block, micros):
                block, self._block = self._block, None
                await self._close_if_idle(block)
            if self._block is None:
                self._block = await self._lease(micros)
            return self._share(self._block, micros)

    async def reserve_while[T](self, micros: MicroUSD, reading: Awaitable[T]) -> tuple[Share, T]:
        """Reserves while `reading` goes on, and what it read. Raises what it raises: then nothing is reserved."""
        if self._block is not None and self._serves(self._block, micros) and not self._lock.locked():
            reserved = self._share(self._block, micros)
        else:
            reading = asyncio.ensure_future(reading)
            try:
                reserved = await self.reserve(micros)
            except WordUpError:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)  # its own error has no taker
                raise
        try:
            return reserved, await reading
        except WordUpError:
            await self.settle(reserved, 0)
            raise

    def _serves(self, block: Block, micros: MicroUSD) -> bool:
        return block.free >= micros and self._fresh(block)

    def _share(self, block: Block, micros: MicroUSD) -> Share:
        block.reserved += micros
        block.turns += 1
        return Share(block, micros)

    async def settle(self, share: Share, spent: MicroUSD) -> None:
        """Takes the share back, less what was spent; returns the block to the budget when no turn uses it, unless it
        is to be kept."""
        async with self._lock:
            block = share.block
            block.reserved -= share.micros
            block.spent += spent
            block.turns -= 1
            kept = self._keeps and block is self._block and self._fresh(block)
            if (kept or not await self._close_if_idle(block)) and spent:
                await self._journal(block, spent)

    async def close(self) -> None:
        """After the last turn."""
        async with self._lock:
            if self._block is not None:
                await self._close_if_idle(self._block)

    def _fresh(self, block: Block) -> bool:
        now = self._clock()
        return block.day == keys.day(now) and now - block.opened < self._lease_seconds

    async def _lease(self, micros: MicroUSD) -> Block:
        first = secrets.randbelow(self._shards) if self._shards > 1 else 0
        order = [keys.budget((first + n) % self._shards) for n in range(self._shards)]
        for pk in order:
            for amount in (micros * BLOCK_TURNS, micros):
                if block := await self._try_lease(pk, amount):
                    return block
        for pk in order:
            if await sweep(self._store, pk, self._clock()) and (block := await self._try_lease(pk, micros)):
                return block
        raise BudgetExceeded(
            "The deployment's budget for today is spent.", retry_after=keys.seconds_to_midnight(self._clock())
        )

    async def _try_lease(self, pk: str, amount: MicroUSD) -> Block | None:
        now = self._clock()
        day = keys.day(now)
        # Twice the lease: a block takes turns for one, and a turn lasts at most another.
        hold = _hold(ulid(), day, amount, now, 2 * self._lease_seconds)
        counter = Add(
            sk=keys.day_counter(day),
            counts={"micros": amount},
            ceilings={"micros": self._ceiling},
            expires_at=int(now) + keys.DAY_COUNTER_SECONDS,
        )
        try:
            await self._store.write(pk, [counter, hold])
        except CeilingReached:
            return None
        return Block(pk, hold, now)

    async def _close_if_idle(self, block: Block) -> bool:
        if block.turns:
            return False
        if self._block is block:
            self._block = None
        counter = keys.day_counter(block.day)
        unspent = block.spent - block.amount
        try:
            await self._store.write(
                block.pk, [Add(sk=counter, counts={"micros": unspent}), Delete(sk=block.sk, must_exist=True)]
            )
        except ConditionFailed:
            await self._store.add(block.pk, Add(sk=counter, counts={"micros": block.spent - block.written}))
        return True

    async def _journal(self, block: Block, spent: MicroUSD) -> None:
        try:
            await self._store.add(block.pk, Add(sk=block.sk, counts={"spent": spent}, must_exist=True))
            block.written += spent
        except ConditionFailed:  # swept: `_close_if_idle` adds what was not written
            return


def _hold(turn_id: str, day: str, micros: MicroUSD, now: float, lease: int) -> Put:
    data: dict[str, Any] = {"micros": micros, "day": day, "lease": int(now) + lease}
    return Put(sk=keys.hold(turn_id), data=data, expires_at=int(now) + HOLD_SECONDS, if_absent=True)


async def sweep(store: Store, pk: str, now: float) -> bool:
    """Gives back what lapsed holds of a partition had reserved, less what they noted as spent."""
    swept = False
    async for hold in every(store, pk, keys.HOLDS):
        if hold.data["lease"] > now:
            continue
        unspent = hold.counts.get("spent", 0) - hold.data["micros"]
        counter = Add(sk=keys.day_counter(hold.data["day"]), counts={"micros": unspent})
        try:
            await store.write(pk, [counter, Delete(sk=hold.sk, if_version=hold.version)])
            swept = True
        except ConditionFailed:  # its own turn, or another sweep, was faster
            continue
    return swept
