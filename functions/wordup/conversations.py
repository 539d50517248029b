"""A user's conversations: list, read, rename, delete, export. All within the user's partition, so that another's
conversation does not exist here."""

from collections.abc import AsyncIterator

import msgspec

from wordup import keys, paging
from wordup.auth import User
from wordup.errors import ConditionFailed, Conflict, InvalidField, NotFound
from wordup.ids import is_ulid
from wordup.stores.base import Delete, Operation, Store, delete_all, every
from wordup.turns import Conversation, Turn

LIST_PAGE = 30
TURN_PAGE = 25
TITLE_CHARACTERS = 120
# A rename or a deletion that loses this many races against running turns gives up.
ATTEMPTS = 5


class ConversationPage(msgspec.Struct, frozen=True):
    conversations: list[Conversation]
    cursor: str | None


class TurnPage(msgspec.Struct, frozen=True):
    """`turns` oldest first; `cursor` leads to the page of older ones."""

    conversation: Conversation
    turns: list[Turn]
    cursor: str | None


class Conversations:
    """Raises NotFound for what is not there or is someone else's, Conflict where running turns win every race."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def newest(self, user: User, cursor: str | None = None) -> ConversationPage:
        """Newest activity first."""
        after = paging.decode(cursor, keys.RECENT)
        page = await self._store.query(user.pk, keys.RECENT, limit=LIST_PAGE, cursor=after)
        return ConversationPage([Conversation.of_recent(row) for row in page.rows], paging.encode(page.cursor))

    async def read(self, user: User, conversation_id: str, cursor: str | None = None) -> TurnPage:
        """The newest page of turns, or the one that `cursor` leads to."""
        conversation = await self._get(user, conversation_id)
        prefix = keys.turns(conversation_id)
        after = paging.decode(cursor, prefix)
        page = await self._store.query(user.pk, prefix, limit=TURN_PAGE, cursor=after)
        return TurnPage(conversation, [Turn.of(row) for row in reversed(page.rows)], paging.encode(page.cursor))

    async def rename(self, user: User, conversation_id: str, title: str) -> Conversation:
        title = " ".join(title.split())
        if not 0 < len(title) <= TITLE_CHARACTERS:
            raise InvalidField("/title", f"A title has 1 to {TITLE_CHARACTERS} characters.")
        for _ in range(ATTEMPTS):
            conversation = await self._get(user, conversation_id)
            renamed = msgspec.structs.replace(conversation, title=title)
            try:
                await self._store.write(user.pk, renamed.put())
                return renamed
            except ConditionFailed:
                continue
        raise Conflict

    async def delete(self, user: User, conversation_id: str) -> None:
        """With every turn. The conversation's own rows go first, so that a running turn is not recorded into it; a
        deletion that was cut short is taken up by the next one."""
        if not is_ulid(conversation_id):
            raise NotFound
        prefix = keys.turns(conversation_id)
        for _ in range(ATTEMPTS):
            row = await self._store.get(user.pk, keys.conversation(conversation_id))
            if row is None:
                if not await delete_all(self._store, user.pk, prefix):
                    raise NotFound
                return
            conversation = Conversation.of(row)
            head: list[Operation] = [
                Delete(sk=row.sk, if_version=row.version),
                Delete(sk=keys.recent(conversation.moment, conversation_id)),
            ]
            try:
                await self._store.write(user.pk, head)
            except ConditionFailed:
                continue
            await delete_all(self._store, user.pk, prefix)
            return
        raise Conflict

    async def export(self, user: User, conversation_id: str) -> tuple[Conversation, list[Turn]]:
        """The whole conversation, oldest turn first."""
        conversation = await self._get(user, conversation_id)
        turns = [Turn.of(row) async for row in every(self._store, user.pk, keys.turns(conversation_id))]
        return conversation, turns[::-1]

    async def export_all(self, user: User) -> AsyncIterator[tuple[Conversation, list[Turn]]]:
        """Every conversation of the user, newest activity first."""
        async for row in every(self._store, user.pk, keys.RECENT):
            conversation = Conversation.of_recent(row)
            turns = [Turn.of(turn) async for turn in every(self._store, user.pk, keys.turns(conversation.id))]
            yield conversation, turns[::-1]

    async def _get(self, user: User, conversation_id: str) -> Conversation:
        row = await self._store.get(user.pk, keys.conversation(conversation_id)) if is_ulid(conversation_id) else None
        if row is None:
            raise NotFound("There is no such conversation.")
        return Conversation.of(row)
