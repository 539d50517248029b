"""What a user has used: from the counters that the limits keep, never by adding up turns."""

import time
from collections.abc import Callable

import msgspec

from wordup import keys
from wordup.auth import User
from wordup.config import MicroUSD, Settings
from wordup.limits import sweep
from wordup.stores.base import Row, Store, every


class Period(msgspec.Struct, frozen=True, kw_only=True):
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    micros: MicroUSD = 0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`reserved` is what running turns hold; it is part of neither period's `micros`. Months and days are UTC's."""

    today: Period
    month: Period
    reserved: MicroUSD
    daily_micros: MicroUSD
    requests_per_minute: int


class UsageBook:
    def __init__(self, store: Store, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    async def report(self, user: User) -> Report:
        now = self._clock()
        today = keys.day(now)
        await sweep(self._store, user.pk, now)
        held: dict[str, int] = {}
        async for hold in every(self._store, user.pk, keys.HOLDS):
            held[hold.data["day"]] = held.get(hold.data["day"], 0) + hold.data["micros"]
        days: dict[str, Period] = {}
        async for row in every(self._store, user.pk, keys.DAYS + today[:7]):
            day = row.sk.removeprefix(keys.DAYS)
            days[day] = _period(row, held.get(day, 0))
        return Report(
            today=days.get(today, Period()),
            month=_total(list(days.values())),
            reserved=sum(held.values()),
            daily_micros=self._settings.user_daily_micros,
            requests_per_minute=self._settings.rate_limit_per_minute,
        )


def _period(row: Row, held: MicroUSD) -> Period:
    return Period(
        requests=row.counts.get("requests", 0),
        input_tokens=row.counts.get("input", 0),
        output_tokens=row.counts.get("output", 0),
        micros=max(0, row.counts.get("micros", 0) - held),
    )


def _total(periods: list[Period]) -> Period:
    fields = Period.__struct_fields__
    return Period(**{field: sum(getattr(period, field) for period in periods) for field in fields})
