"""Turns and conversations as rows: how they are written, and read back within a token budget."""

from typing import Any, Literal

import msgspec

from wordup import keys
from wordup.config import MicroUSD
from wordup.errors import InvalidField
from wordup.ids import inverted, is_ulid, timestamp
from wordup.providers.base import FinishReason
from wordup.stores.base import Delete, Operation, Put, Row, Store

TITLE_CHARACTERS = 60
# One query's worth of turns: with long messages the first fills the token budget, with short ones a few follow.
HISTORY_PAGE = 16
HISTORY_TURNS = 64
# Claude, GPT and Gemini tokenizers average about four bytes of English to a token; other scripts come out dearer,
# which only shortens the history. What money depends on is bounded by bytes instead (models.worst_case).
BYTES_PER_TOKEN = 4


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """A passage that an answer was given from."""

    id: str
    title: str
    url: str = ""


class Feedback(msgspec.Struct, frozen=True, omit_defaults=True):
    rating: Literal["up", "down"]
    reasons: list[str] = []
    comment: str = ""


class Turn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A question with its answer. The short names stand in every stored row."""

    id: str
    conversation_id: str
    question: str = msgspec.field(name="q")
    answer: str = msgspec.field(name="a")
    model: str
    micros: MicroUSD = msgspec.field(name="usd", default=0)
    input_tokens: int = msgspec.field(name="in", default=0)
    output_tokens: int = msgspec.field(name="out", default=0)
    finish_reason: FinishReason = msgspec.field(name="end", default="stop")
    sources: list[Source] = []
    feedback: Feedback | None = None

    @property
    def message_id(self) -> str:
        return f"{self.conversation_id}.{self.id}"

    @property
    def created(self) -> float:
        return timestamp(self.id)

    @property
    def tokens(self) -> int:
        """What it takes of a history, estimated."""
        return tokens(self.question) + tokens(self.answer)

    @property
    def sk(self) -> str:
        return keys.turn(self.conversation_id, self.id)

    def put(self, expires_at: int | None, *, if_version: str | None = None) -> Put:
        data = msgspec.to_builtins(self)
        del data["id"], data["conversation_id"]  # the sort key has both
        return Put(sk=self.sk, data=data, expires_at=expires_at, if_version=if_version)

    @classmethod
    def of(cls, row: Row) -> "Turn":
        _, conversation_id, turn_id = row.sk.split(":")
        return msgspec.convert({**row.data, "id": inverted(turn_id), "conversation_id": conversation_id}, cls)


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """`moment` is the time part of the last turn's id: where the conversation stands in the list."""

    id: str
    title: str
    turns: int
    moment: str
    version: str | None = None
    expires_at: int | None = None

    @property
    def created(self) -> float:
        return timestamp(self.id)

    @property
    def updated(self) -> float:
        return timestamp(self.moment)

    @classmethod
    def of(cls, row: Row) -> "Conversation":
        return cls(id=row.sk.partition(":")[2], version=row.version, expires_at=row.expires_at, **_known(row.data))

    @classmethod
    def of_recent(cls, row: Row) -> "Conversation":
        _, moment, conversation_id = row.sk.split(":")
        data = {"title": row.data["title"], "turns": row.data["turns"]}
        return cls(id=conversation_id, moment=inverted(moment), expires_at=row.expires_at, **data)

    def put(self) -> list[Operation]:
        """The conversation's row, only over the version it was read at, and its place in the list."""
        data: dict[str, Any] = {"title": self.title, "turns": self.turns}
        expires = self.expires_at
        return [
            Put(
                sk=keys.conversation(self.id),
                data={**data, "moment": self.moment},
                expires_at=expires,
                if_absent=self.version is None,
                if_version=self.version,
            ),
            Put(sk=keys.recent(self.moment, self.id), data=data, expires_at=expires),
        ]

    def with_turn(self, turn: Turn, expires_at: int | None, *, replaced: bool) -> list[Operation]:
        """Moves the conversation up the list, for one turn more."""
        moment = max(turn.id[:10], self.moment)
        turns = self.turns if replaced else self.turns + 1
        new = msgspec.structs.replace(self, moment=moment, turns=turns, expires_at=expires_at)
        gone: list[Operation] = []
        if self.version is not None and moment != self.moment:
            gone = [Delete(sk=keys.recent(self.moment, self.id))]
        return [*new.put(), *gone]


def new_conversation(conversation_id: str, first_message: str) -> Conversation:
    title = " ".join(first_message.split())
    if len(title) > TITLE_CHARACTERS:
        title = title[: TITLE_CHARACTERS - 1].rstrip() + "…"
    return Conversation(id=conversation_id, title=title, turns=0, moment=conversation_id[:10])


def _known(data: dict[str, Any]) -> dict[str, Any]:
    return {"title": data["title"], "turns": data["turns"], "moment": data["moment"]}


def parse_message_id(message_id: str, pointer: str) -> tuple[str, str]:
    """(conversation id, turn id). Raises InvalidField."""
    conversation_id, _, turn_id = message_id.partition(".")
    if not (is_ulid(conversation_id) and is_ulid(turn_id)):
        raise InvalidField(pointer, "This is no message id.")
    return conversation_id, turn_id


def said(question: str, answer: str) -> Turn:
    """A turn that a client keeps, not we."""
    return Turn(id="", conversation_id="", question=question, answer=answer, model="")


def newest(past: list[Turn], budget: int) -> list[Turn]:
    """The last turns that fit into `budget` tokens."""
    chosen: list[Turn] = []
    for turn in past[: -HISTORY_TURNS - 1 : -1]:
        if (budget := budget - turn.tokens) < 0:
            break
        chosen.append(turn)
    return chosen[::-1]


def tokens(text: str) -> int:
    """An estimate, rounded up."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


async def history(store: Store, pk: str, conversation_id: str, budget: int, *, before: str | None = None) -> list[Turn]:
    """The newest turns that fit into `budget` tokens, oldest first; `before` leaves out that turn and newer ones."""
    chosen: list[Turn] = []
    cursor = None
    read = 0
    while budget > 0 and read < HISTORY_TURNS:
        page = await store.query(pk, keys.turns(conversation_id), limit=HISTORY_PAGE, cursor=cursor)
        for row in page.rows:
            turn = Turn.of(row)
            if before is not None and turn.id >= before:
                continue
            budget -= turn.tokens
            if budget < 0:
                return chosen[::-1]
            chosen.append(turn)
        read += len(page.rows)
        if (cursor := page.cursor) is None:
            break
    return chosen[::-1]
