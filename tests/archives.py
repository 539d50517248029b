"""Stores to export, and what is in them."""

import random

import msgspec

from wordup.stores.base import Put, Row, Store

NOW = 1_800_000_000
# What a row may be: texts that JSON and databases make something of, numbers over 2^53, nothing at all.
TEXTS = ["", "plain", 'quotes " and \\', "\0\x01\n\t", "ümläüt 漢字 🙂 \u2028", "a" * 40_000]
COUNTS = [{}, {"micros": 2**53 + 1}, {"requests": 1, "input": -7, "output": 2**62}]


def puts(count: int, *, seed: int = 7) -> dict[str, list[Put]]:
    """Partitions of some rows each, of every kind of content."""
    chance = random.Random(seed)  # noqa: S311 - reproducible, no secret
    found: dict[str, list[Put]] = {}
    for number in range(count):
        pk = f"u:{chance.randrange(max(1, count // 40)):04}"
        put = Put(
            sk=f"turn:~!$&'()*+,-.;=@[]^_`{{|}}:{number:05}",
            data={"q": chance.choice(TEXTS if number % 50 == 0 else TEXTS[:-1]), "n": number, "deep": [{"": None}]},
            counts=chance.choice(COUNTS),
            expires_at=chance.choice([None, NOW + number]),
        )
        found.setdefault(pk, []).append(put)
    return found


async def fill(store: Store, partitions: dict[str, list[Put]]) -> None:
    for pk, rows in partitions.items():
        for start in range(0, len(rows), 10):
            await store.write(pk, [*rows[start : start + 10]])


async def rows(store: Store) -> list[Row]:
    """All of them, but for what is each store's own."""
    found: list[Row] = []
    cursor = None
    while True:
        page = await store.scan("", limit=500, cursor=cursor)
        found += [msgspec.structs.replace(row, version="") for row in page.rows]
        if (cursor := page.cursor) is None:
            return sorted(found, key=lambda row: (row.pk, row.sk))


def nothing(_: int) -> None:
    """For the progress that no test looks at."""
