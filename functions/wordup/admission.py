"""Before a turn: checked, priced, claimed and reserved; and after one that came to nothing: given back."""

import contextlib
import hashlib
import time
from collections.abc import Callable

import msgspec

from wordup import keys, summaries
from wordup.auth import User
from wordup.config import MicroUSD, Settings
from wordup.errors import CeilingReached, ConditionFailed, InvalidField, NotFound
from wordup.idempotency import KEY_CHARACTERS, Claim, Finished, twin
from wordup.ids import is_ulid, ulid
from wordup.limits import Usage, UserLimits
from wordup.models import BOT, Catalogue, Model
from wordup.prompts import prompt_bound
from wordup.stores.base import Row, Store
from wordup.turns import Turn, parse_message_id


class TurnRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of POST /chat. `message` may be left out where `regenerate_of` names an answer to give again."""

    message: str | None = None
    conversation_id: str | None = None
    model: str | None = None
    stream: bool = False
    regenerate_of: str | None = None


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a client gives that keeps its conversations itself: nothing of the turn is stored but what it cost.
    Its `instructions` hold beneath the bot's own; `max_tokens` may only lower the bound of an answer."""

    past: list[Turn]
    instructions: str = ""
    max_tokens: int | None = None
    temperature: float | None = None


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that was checked and priced. `given` makes it one that is not stored. `parts` are those of a text to
    summarise that is longer than the model's context."""

    user: User
    id: str
    conversation_id: str
    continues: bool
    question: str
    replaces: str | None
    model: Model
    claim: Claim | None
    hold: Row
    began: float
    timeout: float
    max_tokens: int
    given: Given | None
    parts: list[str]


class Admission:
    """Raises RequestError; what it refuses has taken nothing."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        limits: UserLimits,
        settings: Settings,
        *,
        retrieval_micros: MicroUSD = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`retrieval_micros` is the most that a turn's retrieval costs."""
        self._store = store
        self._retrieval_micros = retrieval_micros
        self._catalogue = catalogue
        self._limits = limits
        self._settings = settings
        self._clock = clock

    async def draft(self, user: User, request: TurnRequest, key: str | None, given: Given | None = None) -> Draft:
        if key is not None and not 0 < len(key) <= KEY_CHARACTERS:
            raise InvalidField("/headers/idempotency-key", f"The key has 1 to {KEY_CHARACTERS} characters.")
        wanted = self._settings.model if request.model in (None, "", BOT) else request.model
        model = self._catalogue.resolve(wanted, self._settings.provider)
        question, conversation_id, replaces = request.message, request.conversation_id, None
        if conversation_id is not None and not is_ulid(conversation_id):
            raise InvalidField("/conversation_id", "This is no conversation id.")
        if request.regenerate_of is not None:
            conversation_id, replaces = parse_message_id(request.regenerate_of, "/regenerate_of")
            row = await self._store.get(user.pk, keys.turn(conversation_id, replaces))
            if row is None:
                raise NotFound("There is no such answer to give again.")
            question = Turn.of(row).question if question is None else question
        if question is None or not question.strip():
            raise InvalidField("/message", "The message is empty.")
        instructions = given.instructions if given else ""
        if len(question) + len(instructions) > self._settings.message_characters:
            limit = self._settings.message_characters
            raise InvalidField("/message", f"The message is longer than {limit:,} characters.")
        turn_id = ulid()
        conversation_id, continues = conversation_id or ulid(), conversation_id is not None
        now = self._clock()
        claim = None
        if key is not None:
            claim = Claim(
                key=key,
                fingerprint=_fingerprint(request),
                conversation_id=conversation_id,
                turn_id=replaces or turn_id,
                lease=int(now) + self._settings.lease_seconds,
            )
        max_tokens = self._settings.answer_tokens
        if given is not None and given.max_tokens is not None:
            max_tokens = min(max_tokens, given.max_tokens)
        parts = summaries.parts(question, model, self._settings.history_tokens + max_tokens)
        more_input, more_output = summaries.bounds(parts)
        prompt = prompt_bound(question, self._settings.history_tokens, instructions) + more_input
        worst = self._catalogue.worst_case(model, prompt, max_tokens + more_output) + len(parts)  # each is rounded up
        worst += self._retrieval_micros
        timeout = self._settings.stream_timeout_seconds if request.stream else self._settings.provider_timeout_seconds
        return Draft(
            user=user,
            id=turn_id,
            conversation_id=conversation_id,
            continues=continues,
            question=question,
            replaces=replaces,
            model=model,
            claim=claim,
            hold=_hold(user.pk, turn_id, worst, now),
            began=now,
            timeout=timeout,
            max_tokens=max_tokens,
            given=given,
            parts=parts,
        )

    async def admit(self, draft: Draft) -> Turn | None:
        """Claims and reserves; the stored turn where the key was used already."""
        pk, claim = draft.user.pk, draft.claim
        over: Row | None = None
        swept = False
        while True:
            operations = self._limits.admission(draft.id, draft.hold.data["micros"], draft.began)
            if claim is not None:
                operations = [claim.put(draft.began, over=over), *operations]
            try:
                await self._store.write(pk, operations)
                return None
            except CeilingReached as error:
                if error.field == "requests" or swept or not await self._limits.sweep(pk):
                    raise self._limits.refusal(error) from None
                swept = True
            except ConditionFailed:
                assert claim is not None
                found = await twin(self._store, pk, claim.key, claim.fingerprint, self._clock())
                if isinstance(found, Finished):
                    return await self._stored(draft.user, found)
                await self._limits.sweep(pk)  # so that the twin, should it still live, finds its hold gone
                over = found

    async def _stored(self, user: User, finished: Finished) -> Turn:
        row = await self._store.get(user.pk, keys.turn(finished.conversation_id, finished.turn_id))
        if row is None:
            raise NotFound("The turn that this Idempotency-Key made was deleted.")
        return Turn.of(row)

    async def give_back(self, draft: Draft, usage: Usage | None = None) -> None:
        """Releases what `admit` took; `usage` is what the provider charges all the same."""
        operations = self._limits.release(draft.hold, usage=usage)
        if draft.claim is not None:
            operations.append(draft.claim.withdraw())
        with contextlib.suppress(ConditionFailed):  # erased, or swept: nothing is held any more
            await self._store.write(draft.user.pk, operations)


def _hold(pk: str, turn_id: str, micros: MicroUSD, now: float) -> Row:
    return Row(pk=pk, sk=keys.hold(turn_id), data={"micros": micros, "day": keys.day(now)}, version="")


def _fingerprint(request: TurnRequest) -> str:
    said = [request.message, request.conversation_id, request.model, request.regenerate_of]
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:16]
