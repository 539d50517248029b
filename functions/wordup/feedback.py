"""Thumbs, reasons and a comment on an answer, kept in the turn's own row."""

import msgspec

from wordup import keys
from wordup.auth import User
from wordup.errors import ConditionFailed, Conflict, InvalidField, NotFound
from wordup.stores.base import Store
from wordup.turns import Feedback, Turn, parse_message_id

COMMENT_CHARACTERS = 2_000
REASONS = 10
REASON_CHARACTERS = 60
ATTEMPTS = 5


class FeedbackBook:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, user: User, message_id: str, feedback: Feedback | None) -> None:
        """Replaces the feedback on an answer; None takes it back. Raises NotFound, InvalidField, Conflict."""
        if feedback is not None:
            _check(feedback)
        try:
            conversation_id, turn_id = parse_message_id(message_id, "/message_id")
        except InvalidField:
            raise NotFound("There is no such message.") from None
        for _ in range(ATTEMPTS):
            row = await self._store.get(user.pk, keys.turn(conversation_id, turn_id))
            if row is None:
                raise NotFound("There is no such message.")
            turn = msgspec.structs.replace(Turn.of(row), feedback=feedback)
            try:
                return await self._store.write(user.pk, [turn.put(row.expires_at, if_version=row.version)])
            except ConditionFailed:
                continue
        raise Conflict


def _check(feedback: Feedback) -> None:
    if len(feedback.comment) > COMMENT_CHARACTERS:
        raise InvalidField("/comment", f"A comment has at most {COMMENT_CHARACTERS:,} characters.")
    if len(feedback.reasons) > REASONS or any(len(reason) > REASON_CHARACTERS for reason in feedback.reasons):
        raise InvalidField("/reasons", f"At most {REASONS} reasons of {REASON_CHARACTERS} characters.")
