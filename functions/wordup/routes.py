"""The HTTP interface: one table of routes, each a few lines between a request and a use case.

`openapi` describes this very table, so that a route cannot be served and not described.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from wordup import completions, keys, markdown, problems, schemas, sse
from wordup.admission import TurnRequest
from wordup.auth import Credentials, User
from wordup.bootstrap import Bot
from wordup.chat import Event, Started
from wordup.conversations import Conversations
from wordup.erasure import Erasure
from wordup.errors import InvalidField, NotFound
from wordup.feedback import FeedbackBook
from wordup.requests import body, credentials
from wordup.turns import Turn
from wordup.usage import UsageBook

Handler = Callable[[Request], Awaitable[Response]]


class JSON(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """`takes` and `gives` are the JSON bodies; `errors` the codes beyond those that every route of its kind has."""

    method: str
    path: str
    handler: Handler
    summary: str
    status: int = 200
    takes: type | None = None
    gives: type | None = None
    signed_in: bool = True
    query: dict[str, str] = {}
    errors: tuple[str, ...] = ()


class Routes:
    """The handlers, over one bot."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._conversations = Conversations(bot.store)
        self._feedback = FeedbackBook(bot.store)
        self._usage = UsageBook(bot.store, bot.settings, clock=bot.clock)
        self._erasure = Erasure(bot.store, bot.settings, clock=bot.clock)

    async def open_session(self, request: Request) -> Response:
        await self._body(request, schemas.SessionIn)
        session = await self._bot.auth.open_session(self._credentials(request))
        expires = keys.rfc3339(session.expires_at)
        out = schemas.SessionOut(token=session.token, user_id=session.user_id, expires_at=expires)
        return JSON(out, 201, {"cache-control": "no-store"})

    async def chat(self, request: Request) -> Response:
        user = await self._user(request)
        asked = await self._body(request, TurnRequest)
        streamed = asked.stream or "text/event-stream" in request.headers.get("accept", "")
        asked = msgspec.structs.replace(asked, stream=streamed)
        key = request.headers.get("idempotency-key")
        events = self._bot.chat.turn(user, asked, key=key)
        first = await anext(events)
        if streamed:
            stream = sse.stream(first, events, lambda error: problems.of(error, problems.request_id(request)))
            return StreamingResponse(stream, headers=sse.HEADERS)
        return JSON(schemas.answer(await self._whole(request, user, first, events)))

    async def complete_chat(self, request: Request) -> Response:
        user = await self._user(request)
        body = await self._body(request, completions.ChatCompletionIn)
        asked, given = completions.asked(body)
        events = self._bot.chat.turn(user, asked, given=given)
        first = await anext(events)
        assert isinstance(first, Started)
        if body.stream:
            request_id = problems.request_id(request)
            stream = completions.stream(body, first, events, lambda error: problems.of(error, request_id))
            return StreamingResponse(stream, headers=sse.HEADERS)
        return JSON(completions.completion(body.model, await self._whole(request, user, first, events)))

    async def _whole(self, request: Request, user: User, first: Event, events: AsyncGenerator[Event]) -> Turn:
        assert isinstance(first, Started)
        leaving = asyncio.create_task(self._stop_when_left(request, user, first.turn_id))
        last: Event = first
        try:
            async for event in events:
                last = event
        finally:
            leaving.cancel()
        assert isinstance(last, Turn)
        return last

    async def _stop_when_left(self, request: Request, user: User, turn_id: str) -> None:
        """A streamed answer notices that its caller left; a buffered one has to look."""
        while (await request.receive())["type"] != "http.disconnect":
            pass
        with contextlib.suppress(NotFound):  # it has just ended
            await self._bot.chat.stop(user, turn_id)

    async def stop(self, request: Request) -> Response:
        await self._bot.chat.stop(await self._user(request), request.path_params["id"])
        return Response(status_code=204)

    async def list_conversations(self, request: Request) -> Response:
        page = await self._conversations.newest(await self._user(request), request.query_params.get("cursor"))
        return JSON(schemas.conversations(page))

    async def read_conversation(self, request: Request) -> Response:
        user = await self._user(request)
        cursor = request.query_params.get("cursor")
        page = await self._conversations.read(user, request.path_params["id"], cursor)
        return JSON(schemas.turn_page(page))

    async def rename_conversation(self, request: Request) -> Response:
        user = await self._user(request)
        asked = await self._body(request, schemas.RenameIn)
        renamed = await self._conversations.rename(user, request.path_params["id"], asked.title)
        return JSON(schemas.conversation(renamed))

    async def delete_conversation(self, request: Request) -> Response:
        await self._conversations.delete(await self._user(request), request.path_params["id"])
        return Response(status_code=204)

    async def export_conversation(self, request: Request) -> Response:
        user = await self._user(request)
        form = request.query_params.get("format", "json")
        if form not in ("json", "md"):
            raise InvalidField("/query/format", "The format is json or md.")
        conversation, turns = await self._conversations.export(user, request.path_params["id"])
        name = {"content-disposition": f'attachment; filename="conversation-{conversation.id}.{form}"'}
        if form == "md":
            return Response(markdown.conversation(conversation, turns), 200, name, "text/markdown; charset=utf-8")
        return JSON(schemas.exported(conversation, turns), 200, name)

    async def put_feedback(self, request: Request) -> Response:
        user = await self._user(request)
        asked = await self._body(request, schemas.FeedbackIn)
        await self._feedback.put(user, request.path_params["id"], asked.feedback())
        return Response(status_code=204)

    async def delete_feedback(self, request: Request) -> Response:
        await self._feedback.put(await self._user(request), request.path_params["id"], None)
        return Response(status_code=204)

    async def passage(self, request: Request) -> Response:
        await self._user(request)
        found = self._bot.knowledge.passage(request.query_params.get("id", ""))
        if found is None:
            raise NotFound("The knowledge base has no such passage, or no longer.")
        return JSON(schemas.PassageOut(id=found.id, title=found.title, text=found.text, url=found.url))

    async def usage(self, request: Request) -> Response:
        return JSON(schemas.usage(await self._usage.report(await self._user(request))))

    async def export_user(self, request: Request) -> Response:
        user = await self._user(request)
        found = [each async for each in self._conversations.export_all(user)]
        out = schemas.user_export(user.id, self._bot.clock(), await self._usage.report(user), found)
        return JSON(out, 200, {"content-disposition": 'attachment; filename="export.json"'})

    async def erase_user(self, request: Request) -> Response:
        await self._erasure.erase(await self._user(request))
        return Response(status_code=204)

    async def models(self, request: Request) -> Response:
        await self._user(request)
        settings, catalogue = self._bot.settings, self._bot.catalogue
        default = catalogue.resolve(settings.model, settings.provider)
        return JSON(schemas.models(catalogue, settings.provider, default))

    async def sign_in(self, _: Request) -> Response:
        return JSON(schemas.sign_in(self._bot.settings))

    async def health(self, _: Request) -> Response:
        return JSON(schemas.Health(status="ok"))

    async def readiness(self, _: Request) -> Response:
        """The store and the signing key can be read."""
        await self._bot.store.get(keys.budget(0), keys.day_counter(keys.day(self._bot.clock())))
        await self._bot.auth.check()
        return JSON(schemas.Health(status="ok"))

    async def _user(self, request: Request) -> User:
        return await self._bot.auth.user(self._credentials(request))

    def _credentials(self, request: Request) -> Credentials:
        return credentials(request, self._bot.settings.trusted_proxies)

    async def _body[T](self, request: Request, wanted: type[T]) -> T:
        return await body(request, wanted, self._bot.settings.body_bytes)


def table(bot: Bot) -> list[Route]:
    """Every route of the API; pages stand in `pages`."""
    r = Routes(bot)
    paged = {"cursor": "Continues a list; from the page before."}
    return [
        Route(
            method="POST",
            path="/v1/sessions",
            handler=r.open_session,
            summary="Open a session with the access key in X-Api-Key, or renew one with its token.",
            status=201,
            takes=schemas.SessionIn,
            gives=schemas.SessionOut,
            signed_in=False,
            errors=("missing_token", "invalid_token", "expired_token", "wrong_access_key", "not_found", "rate_limited"),
        ),
        Route(
            method="GET",
            path="/v1/auth",
            handler=r.sign_in,
            summary="How to sign in here: with an access key, with an issuer's token, or not at all.",
            gives=schemas.SignInOut,
            signed_in=False,
        ),
        Route(
            method="POST",
            path="/chat",
            handler=r.chat,
            summary="Ask; the answer comes as JSON, or as server-sent events when `stream` or Accept asks for them.",
            takes=TurnRequest,
            gives=schemas.AnswerOut,
            errors=(
                *("not_found", "conflict", "idempotency_mismatch", "content_blocked", "unknown_model"),
                *("model_retired", "rate_limited", "budget_exceeded"),
                *("provider_error", "provider_busy", "provider_timeout"),
            ),
        ),
        Route(
            method="POST",
            path=completions.PATH,
            handler=r.complete_chat,
            summary="Ask as OpenAI's clients do. Nothing of it is kept: the messages are the history.",
            takes=completions.ChatCompletionIn,
            gives=completions.ChatCompletion,
            errors=(
                *("content_blocked", "unknown_model", "model_retired", "rate_limited", "budget_exceeded"),
                *("provider_error", "provider_busy", "provider_timeout"),
            ),
        ),
        Route(
            method="POST",
            path="/v1/turns/{id}/stop",
            handler=r.stop,
            summary="End a running answer; what has come so far is kept.",
            status=204,
            errors=("not_found",),
        ),
        Route(
            method="GET",
            path="/v1/conversations",
            handler=r.list_conversations,
            summary="Your conversations, newest activity first.",
            gives=schemas.ConversationsOut,
            query=paged,
            errors=("invalid_field",),
        ),
        Route(
            method="GET",
            path="/v1/conversations/{id}",
            handler=r.read_conversation,
            summary="A conversation's messages: the newest page, in the order they were said.",
            gives=schemas.MessagesOut,
            query=paged,
            errors=("not_found", "invalid_field"),
        ),
        Route(
            method="PATCH",
            path="/v1/conversations/{id}",
            handler=r.rename_conversation,
            summary="Rename a conversation.",
            takes=schemas.RenameIn,
            gives=schemas.ConversationOut,
            errors=("not_found", "conflict"),
        ),
        Route(
            method="DELETE",
            path="/v1/conversations/{id}",
            handler=r.delete_conversation,
            summary="Delete a conversation with everything in it.",
            status=204,
            errors=("not_found", "conflict"),
        ),
        Route(
            method="GET",
            path="/v1/conversations/{id}/export",
            handler=r.export_conversation,
            summary="The whole conversation as a file.",
            gives=schemas.ExportedConversation,
            query={"format": "`json` (the default) or `md`."},
            errors=("not_found", "invalid_field"),
        ),
        Route(
            method="PUT",
            path="/v1/messages/{id}/feedback",
            handler=r.put_feedback,
            summary="Rate an answer; a later rating replaces an earlier one.",
            status=204,
            takes=schemas.FeedbackIn,
            errors=("not_found", "conflict"),
        ),
        Route(
            method="DELETE",
            path="/v1/messages/{id}/feedback",
            handler=r.delete_feedback,
            summary="Take a rating back.",
            status=204,
            errors=("not_found", "conflict"),
        ),
        Route(
            method="GET",
            path="/v1/passages",
            handler=r.passage,
            summary="The text of a passage that an answer names among its sources.",
            query={"id": "The source's id."},
            gives=schemas.PassageOut,
            errors=("not_found",),
        ),
        Route(
            method="GET",
            path="/v1/me/usage",
            handler=r.usage,
            summary="What you have used today and this month, and your limits.",
            gives=schemas.UsageOut,
        ),
        Route(
            method="GET",
            path="/v1/me/export",
            handler=r.export_user,
            summary="Everything that is stored about you.",
            gives=schemas.ExportOut,
        ),
        Route(
            method="DELETE",
            path="/v1/me",
            handler=r.erase_user,
            summary="Erase everything that is stored about you, your access keys included.",
            status=204,
        ),
        Route(
            method="GET",
            path="/v1/models",
            handler=r.models,
            summary="The models of this deployment, with prices and shutdown dates.",
            gives=schemas.ModelsOut,
            errors=("unknown_model", "model_retired"),
        ),
        Route(
            method="GET",
            path="/healthz",
            handler=r.health,
            summary="The process is up.",
            gives=schemas.Health,
            signed_in=False,
        ),
        Route(
            method="GET",
            path="/readyz",
            handler=r.readiness,
            summary="The store and the secrets can be reached.",
            gives=schemas.Health,
            signed_in=False,
            errors=("store_unavailable", "secret_unavailable"),
        ),
    ]
