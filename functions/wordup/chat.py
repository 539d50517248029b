"""The chat turn: admit, read, answer, record.

1. Claim the Idempotency-Key, count the request and reserve the worst case: one write in the user's partition.
2. Side by side: reserve the deployment's share of the money; read the newest turns, the conversation and the user's
   tombstone.
3. Retrieve, ask the provider, hand its deltas on.
4. One write stores the whole turn, moves the conversation up, settles the reservation, finishes the claim.

A turn is written whole or reported as failed. It runs in a task of its own, so that it is settled also when its
caller has left.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import msgspec

from wordup import keys, summaries
from wordup.admission import Admission, Draft, Given, TurnRequest
from wordup.auth import User
from wordup.config import Settings
from wordup.errors import (
    BudgetExceeded,
    ConditionFailed,
    Conflict,
    InvalidToken,
    NotFound,
    ProviderError,
    RateLimited,
    StoreUnavailable,
    WordUpError,
)
from wordup.ids import is_ulid
from wordup.limits import DeploymentBudget, Share, Usage, UserLimits
from wordup.models import Catalogue
from wordup.prompts import messages
from wordup.providers.base import CompletionRequest, Delta, Finish, Message, Passage, Provider
from wordup.retrieval import Retrieved, contextual_query
from wordup.stores.base import Add, Operation, Store
from wordup.telemetry import Telemetry
from wordup.turns import Conversation, Source, Turn, history, new_conversation, newest

# A lost race over a conversation is written again; more writers than this at once on one conversation is no chat.
RECORD_ATTEMPTS = 20
LOOK_SECONDS = 1.0
QUIET_LOOKS = 15
# English is about four bytes a token, code and other scripts about three: the dearer of the two.
CUT_BYTES_PER_TOKEN = 3


class Started(msgspec.Struct, frozen=True, kw_only=True):
    conversation_id: str
    message_id: str
    turn_id: str
    model: str


class Quiet(msgspec.Struct, frozen=True):
    """The turn is still running."""


Event = Started | Delta | Quiet | summaries.Progress | Turn


class _Running:
    """A turn under way. `stop` ends its answer, not its record."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.events: asyncio.Queue[Event | None] = asyncio.Queue()  # None ends the turn
        self.stopped = False
        self.began = time.perf_counter()
        self.first_seconds: float | None = None
        self.answer: list[str] = []
        self.notes: list[Finish] = []
        self.prompt_bytes = 0
        self.micros = 0  # spent before the model was asked
        self.scope: asyncio.Timeout | None = None
        self.watch: asyncio.TimerHandle | asyncio.Task[None] | None = None

    def stop(self) -> None:
        self.stopped = True
        if self.scope is not None and not self.scope.expired():
            self.scope.reschedule(0)


class Chat:
    """`providers` gives the adapter of a provider's name."""

    def __init__(
        self,
        store: Store,
        providers: Callable[[str], Provider],
        catalogue: Catalogue,
        retrieve: Callable[[str], Awaitable[Retrieved]],
        admission: Admission,
        limits: UserLimits,
        budget: DeploymentBudget,
        telemetry: Telemetry,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._providers = providers
        self._catalogue = catalogue
        self._retrieve = retrieve
        self._admission = admission
        self._limits = limits
        self._budget = budget
        self._telemetry = telemetry
        self._settings = settings
        self._clock = clock
        self._running: dict[str, tuple[_Running, asyncio.Task[None]]] = {}

    async def turn(
        self, user: User, request: TurnRequest, *, key: str | None = None, given: Given | None = None
    ) -> AsyncGenerator[Event]:
        """Started, Deltas (Quiet now and then), then the whole Turn. Raises RequestError before anything was
        spent, ProviderError and StoreError when the turn came to nothing. Closing the iterator ends the provider's
        call; what had come by then is recorded. A `key` that was used for the same request gives the stored turn
        without a model call. A turn with what its client has `given` leaves nothing but its cost."""
        draft = await self._admission.draft(user, request, key, given)
        try:
            admitted = await self._admission.admit(draft)
        except (RateLimited, BudgetExceeded) as error:
            self._telemetry.limited(error)
            raise
        if isinstance(admitted, Turn):
            yield _started(admitted)
            yield Delta(admitted.answer)
            yield admitted
            return
        running = _Running(draft)
        task = asyncio.create_task(self._run(running))
        self._running[draft.hold.sk] = (running, task)
        task.add_done_callback(lambda done: self._ended(draft, done))
        try:
            while (event := await running.events.get()) is not None:
                yield event
        finally:
            running.stop()
        await task

    async def stop(self, user: User, turn_id: str) -> None:
        """Ends a running turn of the user, on whichever instance it runs. Raises NotFound."""
        if not is_ulid(turn_id):
            raise NotFound
        sk = keys.hold(turn_id)
        try:
            await self._store.add(user.pk, Add(sk=sk, counts={"stop": 1}, must_exist=True))
        except ConditionFailed:
            raise NotFound("No such turn is running.") from None
        if sk in self._running:
            self._running[sk][0].stop()

    async def close(self) -> None:
        """Waits for the turns whose callers have left to be recorded."""
        await asyncio.gather(*(task for _, task in self._running.values()), return_exceptions=True)

    def _ended(self, draft: Draft, task: asyncio.Task[None]) -> None:
        self._running.pop(draft.hold.sk, None)
        # Also marks the error as seen: the caller, to whom it goes, may have left.
        if not task.cancelled() and (error := task.exception()) is not None:
            self._telemetry.failed(draft.id, error)

    async def _run(self, running: _Running) -> None:
        # Most turns are over before the first look, and need no task for it.
        running.watch = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._watch, running)
        try:
            await self._answer(running)
        finally:
            running.watch.cancel()
            running.events.put_nowait(None)

    def _watch(self, running: _Running) -> None:
        running.watch = asyncio.create_task(self._look(running))

    async def _look(self, running: _Running) -> None:
        """Sees a stop, or an erasure, that reached another instance, and now and then says that the turn goes on."""
        for looks in itertools.count(1):
            with contextlib.suppress(StoreUnavailable):  # the next look will tell
                row = await self._store.get(running.draft.hold.pk, running.draft.hold.sk)
                if row is None or row.counts.get("stop"):
                    running.stop()
            if running.stopped:
                return
            if looks % QUIET_LOOKS == 0:
                running.events.put_nowait(Quiet())
            await asyncio.sleep(LOOK_SECONDS)

    async def _answer(self, running: _Running) -> None:
        draft = running.draft
        share: Share | None = None
        usage: Usage | None = None
        try:
            share, (conversation, past) = await self._budget.reserve_while(draft.hold.data["micros"], self._read(draft))
            passages, running.micros = await self._retrieve(contextual_query(draft.question, past))
            running.events.put_nowait(_started(draft))
            finish = await self._stream(running, past, passages)
            usage = self._usage(running, [*running.notes, finish])
        except WordUpError as error:
            if running.micros or (isinstance(error, ProviderError) and (running.answer or running.notes)):
                begun = [_estimate(running)] if running.answer else []
                usage = self._usage(running, [*running.notes, *begun])
            if share is not None:
                await self._budget.settle(share, usage.micros if usage else 0)
            await self._admission.give_back(draft, usage)
            raise
        await self._budget.settle(share, usage.micros)
        turn = Turn(
            id=draft.replaces or draft.id,
            conversation_id=draft.conversation_id,
            question=draft.question,
            answer="".join(running.answer),
            model=draft.model.id,
            micros=usage.micros,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            finish_reason=finish.finish_reason,
            sources=[Source(passage.id, passage.title, passage.url) for passage in passages],
        )
        await self._record(draft, turn, conversation, usage)
        running.events.put_nowait(turn)
        self._telemetry.answered(
            turn=draft.id,
            model=turn.model,
            seconds=time.perf_counter() - running.began,
            first_seconds=running.first_seconds,
            finish_reason=turn.finish_reason,
            input_tokens=turn.input_tokens,
            output_tokens=turn.output_tokens,
            micros=turn.micros,
        )

    async def _read(self, draft: Draft) -> tuple[Conversation, list[Turn]]:
        pk = draft.user.pk
        if not draft.continues:
            past = newest(draft.given.past, self._settings.history_tokens) if draft.given else list[Turn]()
            erased, row = await self._store.get(pk, keys.ERASED), None
        else:
            erased, row, past = await asyncio.gather(
                self._store.get(pk, keys.ERASED),
                self._store.get(pk, keys.conversation(draft.conversation_id)),
                history(self._store, pk, draft.conversation_id, self._settings.history_tokens, before=draft.replaces),
            )
        if erased is not None:
            raise InvalidToken("This account was erased.")
        if row is None and draft.continues:
            raise NotFound("There is no such conversation.")
        return Conversation.of(row) if row else new_conversation(draft.conversation_id, draft.question), past

    async def _stream(self, running: _Running, past: list[Turn], passages: list[Passage]) -> Finish:
        finish: Finish | None = None
        try:
            async with asyncio.timeout(None) as running.scope:
                if not running.stopped:
                    question = await self._read_in_parts(running)
                    instructions = running.draft.given.instructions if running.draft.given else ""
                    said = messages(past, passages, question, instructions)
                    async with self._call(running, said, running.draft.max_tokens, passages) as stream:
                        async for item in stream:
                            if isinstance(item, Finish):
                                finish = item
                            else:
                                if running.first_seconds is None:
                                    running.first_seconds = time.perf_counter() - running.began
                                running.answer.append(item.text)
                                running.events.put_nowait(item)
        except TimeoutError:
            if not running.stopped:
                raise
        finally:
            running.scope = None
        return finish or _estimate(running)

    async def _read_in_parts(self, running: _Running) -> str:
        """The question; of a text that the model cannot read at once, with the notes that it takes of each part."""
        draft = running.draft
        notes: list[str] = []
        for part in draft.parts:
            said: list[str] = []
            async with self._call(running, summaries.part_messages(part), summaries.NOTE_TOKENS) as stream:
                async for item in stream:
                    if isinstance(item, Finish):
                        running.notes.append(item)
                    else:
                        said.append(item.text)
            notes.append("".join(said))
            running.events.put_nowait(summaries.Progress(done=len(notes), total=len(draft.parts)))
        return summaries.joined(draft.question, notes) if notes else draft.question

    def _call(
        self, running: _Running, said: list[Message], max_tokens: int, passages: Sequence[Passage] = ()
    ) -> contextlib.aclosing[AsyncGenerator[Delta | Finish]]:
        draft = running.draft
        request = CompletionRequest(
            model=draft.model.name,
            messages=said,
            max_tokens=max_tokens,
            # All calls of a turn share its time.
            timeout=max(draft.timeout - (time.perf_counter() - running.began), 1.0) if draft.parts else draft.timeout,
            passages=list(passages),
            # A model that thinks has one temperature, and refuses to be told.
            temperature=draft.given.temperature if draft.given and not draft.model.reasoning_effort else None,
            reasoning_effort=draft.model.reasoning_effort,
        )
        running.prompt_bytes = sum(len(message.content.encode()) for message in request.messages)
        return contextlib.aclosing(self._providers(draft.model.provider).stream(request))

    def _usage(self, running: _Running, finishes: Sequence[Finish]) -> Usage:
        """Of all calls of a turn: each has its own price, since long prompts cost more."""
        model, cost = running.draft.model, self._catalogue.cost
        micros = running.micros + sum(
            cost(model, call.input_tokens, call.output_tokens, call.cached_input_tokens, call.cache_write_input_tokens)
            for call in finishes
        )
        return Usage(
            micros=micros,
            input_tokens=sum(call.input_tokens for call in finishes),
            output_tokens=sum(call.output_tokens for call in finishes),
        )

    async def _record(self, draft: Draft, turn: Turn, conversation: Conversation, usage: Usage) -> None:
        """The one write of a whole turn; at most seven operations."""
        pk = draft.user.pk
        settlement = self._limits.settlement(draft.hold, usage)
        for _ in range(RECORD_ATTEMPTS):
            now = self._clock()
            expires_at = int(now) + self._settings.retention_days * keys.DAY_SECONDS
            operations: list[Operation] = [*settlement]
            if draft.given is None:
                moved = conversation.with_turn(turn, expires_at, replaced=draft.replaces is not None)
                operations = [turn.put(expires_at), *moved, *settlement]
            if draft.claim is not None:
                operations.append(draft.claim.put(now, done=True))
            try:
                return await self._store.write(pk, operations)
            except ConditionFailed as error:
                if error.sk == draft.hold.sk:
                    settlement = await self._settle_late(draft, usage)
                    continue
                row = await self._store.get(pk, keys.conversation(draft.conversation_id))
                if row is None:
                    await self._admission.give_back(draft, usage)
                    raise NotFound("The conversation was deleted while it was answered.") from None
                conversation = Conversation.of(row)
        await self._admission.give_back(draft, usage)
        raise Conflict("Too many requests write to this conversation at once.")

    async def _settle_late(self, draft: Draft, usage: Usage) -> list[Operation]:
        """The hold is gone: the user was erased, or the turn outlived its lease."""
        pk = draft.user.pk
        if await self._store.get(pk, keys.ERASED):
            raise InvalidToken("This account was erased.")
        operations = self._limits.late_settlement(draft.hold, usage)
        if draft.claim is not None:
            row = await self._store.get(pk, keys.idempotency(draft.claim.key))
            if row is not None and row.data["turn"] != draft.claim.turn_id:
                await self._store.write(pk, operations)
                raise Conflict("A retry of this request was answered in its place.")
        return operations


def _started(turn: Turn | Draft) -> Started:
    if isinstance(turn, Turn):
        return Started(
            conversation_id=turn.conversation_id, message_id=turn.message_id, turn_id=turn.id, model=turn.model
        )
    return Started(
        conversation_id=turn.conversation_id,
        message_id=f"{turn.conversation_id}.{turn.replaces or turn.id}",
        turn_id=turn.id,
        model=turn.model.id,
    )


def _estimate(running: _Running) -> Finish:
    """The usage of an answer that was cut short before its provider told it: an estimate from the bytes."""
    answer = sum(len(text.encode()) for text in running.answer)
    return Finish(
        finish_reason="stopped",
        input_tokens=-(-running.prompt_bytes // CUT_BYTES_PER_TOKEN),
        output_tokens=-(-answer // CUT_BYTES_PER_TOKEN),
    )
