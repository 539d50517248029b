"""The deployment's money where one process spends it: the block that it keeps between turns."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from wordup import keys
from wordup.config import Settings
from wordup.errors import BudgetExceeded, NotFound
from wordup.limits import BLOCK_TURNS, DeploymentBudget
from wordup.stores.base import every
from wordup.stores.sqlite import SQLiteStore

NOW = 1_795_000_000.0
WORST, SPENT = 100, 7


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "wordup.db", clock=lambda: NOW)
    yield store
    await store.close()


def budget(store: SQLiteStore, usd: float = 1.0) -> DeploymentBudget:
    return DeploymentBudget(store, Settings(deployment_daily_usd=usd), clock=lambda: NOW, keeps=True)


async def counted(store: SQLiteStore) -> int:
    row = await store.get(keys.budget(0), keys.day_counter(keys.day(NOW)))
    return row.counts["micros"] if row else 0


async def holds(store: SQLiteStore) -> list[int]:
    return [row.counts.get("spent", 0) async for row in every(store, keys.budget(0), keys.HOLDS)]


async def test_kept_block_serves_the_next_turn_and_tells_what_was_spent(store: SQLiteStore) -> None:
    kept = budget(store)
    for _ in range(3):
        await kept.settle(await kept.reserve(WORST), SPENT)
    assert await counted(store) == BLOCK_TURNS * WORST
    assert await holds(store) == [3 * SPENT]


async def test_closing_gives_the_kept_block_back(store: SQLiteStore) -> None:
    kept = budget(store)
    await kept.settle(await kept.reserve(WORST), SPENT)
    await kept.close()
    assert (await counted(store), await holds(store)) == (SPENT, [])


async def test_kept_block_refuses_nobody_that_the_budget_can_pay_for(store: SQLiteStore) -> None:
    turns = 10
    kept = budget(store, turns * WORST / 1_000_000)
    shares = await asyncio.gather(*(kept.reserve(WORST) for _ in range(turns)))
    with pytest.raises(BudgetExceeded):
        await kept.reserve(WORST)
    for share in shares:
        await kept.settle(share, WORST)
    with pytest.raises(BudgetExceeded):
        await kept.reserve(1)
    await kept.close()
    assert (await counted(store), await holds(store)) == (turns * WORST, [])


async def test_what_a_kept_block_did_not_spend_pays_for_a_turn_that_needs_more(store: SQLiteStore) -> None:
    kept = budget(store, 5 * WORST / 1_000_000)
    await kept.settle(await kept.reserve(WORST), SPENT)
    share = await kept.reserve(5 * WORST - SPENT)
    await kept.settle(share, 0)
    await kept.close()
    assert await counted(store) == SPENT


@pytest.mark.parametrize("turns_before", [0, 1])
async def test_what_is_read_meanwhile_comes_with_the_share(store: SQLiteStore, turns_before: int) -> None:
    kept = budget(store)
    for _ in range(turns_before):
        await kept.settle(await kept.reserve(WORST), 0)
    share, read = await kept.reserve_while(WORST, asyncio.sleep(0, "read"))
    assert (share.micros, read) == (WORST, "read")


@pytest.mark.parametrize("turns_before", [0, 1])
async def test_reading_that_fails_leaves_nothing_reserved(store: SQLiteStore, turns_before: int) -> None:
    async def failing() -> None:
        raise NotFound

    kept = budget(store)
    for _ in range(turns_before):
        await kept.settle(await kept.reserve(WORST), 0)
    with pytest.raises(NotFound):
        await kept.reserve_while(WORST, failing())
    await kept.close()
    assert (await counted(store), await holds(store)) == (0, [])


async def test_refusal_ends_what_is_read_meanwhile(store: SQLiteStore) -> None:
    ended = asyncio.Event()

    async def reading() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with pytest.raises(BudgetExceeded):
        await budget(store, 0).reserve_while(WORST, reading())
    assert ended.is_set()
