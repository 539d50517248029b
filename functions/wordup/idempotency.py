"""One turn for one Idempotency-Key: claimed with the reservation, finished with the turn."""

import msgspec

from wordup import keys
from wordup.errors import Conflict, IdempotencyMismatch
from wordup.stores.base import Delete, Put, Row, Store

KEY_SECONDS = keys.DAY_SECONDS
KEY_CHARACTERS = 255


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """`fingerprint` digests the request, so that a key is not used for two. `lease` in seconds since the epoch."""

    key: str
    fingerprint: str
    conversation_id: str
    turn_id: str
    lease: int

    def put(self, now: float, *, done: bool = False, over: Row | None = None) -> Put:
        data = {"of": self.fingerprint, "conversation": self.conversation_id, "turn": self.turn_id}
        if not done:
            data["lease"] = str(self.lease)
        return Put(
            sk=keys.idempotency(self.key),
            data=data,
            expires_at=int(now) + KEY_SECONDS,
            if_absent=not done and over is None,
            if_version=over.version if over else None,
        )

    def withdraw(self) -> Delete:
        return Delete(sk=keys.idempotency(self.key))


class Finished(msgspec.Struct, frozen=True):
    """The turn that a key was used for."""

    conversation_id: str
    turn_id: str


async def twin(store: Store, pk: str, key: str, fingerprint: str, now: float) -> Finished | Row | None:
    """What stands under a key that could not be claimed: a finished turn, a claim whose lease is over and that may be
    taken over, or nothing any more. Raises IdempotencyMismatch, and Conflict while a twin runs."""
    row = await store.get(pk, keys.idempotency(key))
    if row is None:
        return None
    if row.data["of"] != fingerprint:
        raise IdempotencyMismatch
    if "lease" not in row.data:
        return Finished(row.data["conversation"], row.data["turn"])
    if (left := int(row.data["lease"]) - now) > 0:
        raise Conflict("The same request is being answered.", retry_after=min(int(left) + 1, 5))
    return row
