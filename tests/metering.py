"""A store around a store that counts the bytes of the rows which pass, as a database would bill them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from wordup.stores.base import Add, Delete, Operation, Page, Put, Row, Store

NUMBER_BYTES = 8


class MeteredStore:
    """`written` and `read` are bytes: keys, documents as JSON, counts with their names."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.written = 0
        self.read = 0

    async def get(self, pk: str, sk: str) -> Row | None:
        row = await self._store.get(pk, sk)
        self.read += _size(row) if row else 0
        return row

    async def write(self, pk: str, operations: list[Operation]) -> None:
        self.written += sum(_operation_size(pk, operation) for operation in operations)
        await self._store.write(pk, operations)

    async def add(self, pk: str, operation: Add) -> dict[str, int]:
        self.written += _operation_size(pk, operation)
        return await self._store.add(pk, operation)

    async def query(self, pk: str, prefix: str, *, limit: int, cursor: str | None = None) -> Page:
        page = await self._store.query(pk, prefix, limit=limit, cursor=cursor)
        self.read += sum(map(_size, page.rows))
        return page

    async def scan(self, prefix: str, *, limit: int, cursor: str | None = None) -> Page:
        page = await self._store.scan(prefix, limit=limit, cursor=cursor)
        self.read += sum(map(_size, page.rows))
        return page

    async def purge(self, *, limit: int) -> int:
        return await self._store.purge(limit=limit)

    async def close(self) -> None:
        await self._store.close()


def _size(row: Row) -> int:
    return _bytes(row.pk, row.sk, row.data, row.counts) + len(row.version) + 2 * NUMBER_BYTES


def _operation_size(pk: str, operation: Operation) -> int:
    match operation:
        case Put():
            return _bytes(pk, operation.sk, operation.data, operation.counts) + 3 * NUMBER_BYTES
        case Add():
            return _bytes(pk, operation.sk, {}, operation.counts) + 3 * NUMBER_BYTES
        case Delete():
            return len(pk) + len(operation.sk)


def _bytes(pk: str, sk: str, data: Mapping[str, Any], counts: Mapping[str, int]) -> int:
    document = len(msgspec.json.encode(data)) if data else 0
    return len(pk) + len(sk) + document + sum(len(name) + NUMBER_BYTES for name in counts)
