"""Backoff with full jitter."""

import pytest

from wordup.errors import ConditionFailed, StoreUnavailable
from wordup.stores.retry import Again, Retry


class Waits:
    """Records the bounds that jitter is drawn from, and the waits that it gives: a third of the bound."""

    def __init__(self) -> None:
        self.bounds: list[float] = []
        self.slept: list[float] = []

    def uniform(self, low: float, high: float) -> float:
        assert low == 0
        self.bounds.append(high)
        return high / 3

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Call:
    """Fails `times` times, then gives how often it was called."""

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self.times, self.calls = times, 0
        self.error = error or Again()

    async def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return self.calls


async def test_the_first_success_is_given_at_once() -> None:
    waits = Waits()
    assert await Retry(sleep=waits.sleep, uniform=waits.uniform).run(Call(0)) == 1
    assert waits.slept == []


async def test_the_bounds_double_up_to_the_cap_and_jitter_fills_them() -> None:
    waits = Waits()
    retry = Retry(attempts=7, base_seconds=0.1, cap_seconds=1.0, sleep=waits.sleep, uniform=waits.uniform)
    assert await retry.run(Call(6)) == 7
    assert waits.bounds == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    assert waits.slept == pytest.approx([bound / 3 for bound in waits.bounds])


async def test_jitter_differs_from_call_to_call() -> None:
    waits = Waits()
    retry = Retry(attempts=4, sleep=waits.sleep)
    for _ in range(5):
        await retry.run(Call(3))
    assert len(set(waits.slept)) == 15
    assert all(0 <= wait <= 0.1 for wait in waits.slept)


async def test_after_the_last_attempt_the_store_is_unavailable_and_the_cause_kept() -> None:
    waits = Waits()
    again = Again()
    again.__cause__ = KeyError("the vendor's")
    call = Call(99, again)
    with pytest.raises(StoreUnavailable) as failed:
        await Retry(attempts=3, sleep=waits.sleep).run(call)
    assert call.calls == 3
    assert len(waits.slept) == 2
    assert failed.value.__cause__ is again.__cause__


async def test_other_errors_pass_through_at_once() -> None:
    waits = Waits()
    with pytest.raises(ConditionFailed):
        await Retry(sleep=waits.sleep).run(Call(1, ConditionFailed("a")))
    assert waits.slept == []
