"""The JSON of the HTTP interface: what goes in and what comes out. `openapi` describes these very classes."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from wordup import keys
from wordup.config import MicroUSD, Settings
from wordup.conversations import ConversationPage, TurnPage
from wordup.models import BOT, Catalogue, Model
from wordup.providers.base import FinishReason
from wordup.turns import Conversation, Feedback, Source, Turn
from wordup.usage import Period, Report

USD = Annotated[str, Meta(description="US dollars, a decimal number.", pattern=r"^[0-9]+(\.[0-9]+)?$")]
Time = Annotated[str, Meta(description="RFC 3339, in UTC.")]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What callers send: an unknown field is refused."""


class SessionIn(Body, frozen=True):
    pass


class RenameIn(Body, frozen=True):
    title: str


class FeedbackIn(Body, frozen=True):
    rating: Literal["up", "down"]
    reasons: list[str] = []
    comment: str = ""

    def feedback(self) -> Feedback:
        return Feedback(self.rating, self.reasons, self.comment)


class SessionOut(msgspec.Struct, frozen=True, kw_only=True):
    token: str
    user_id: str
    expires_at: Time


class SignInOut(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """In `oidc` mode: whose tokens are taken, for which audience, and the public client that a page signs in as, by
    PKCE. Where the audience is that client, the token to send is the ID token, else the access token."""

    mode: Literal["key", "oidc", "open"]
    issuer: str | None = None
    audience: str | None = None
    client_id: str | None = None
    scopes: list[str] = []


class TurnUsageOut(msgspec.Struct, frozen=True, kw_only=True):
    input_tokens: int
    output_tokens: int
    cost_usd: USD


class AnswerOut(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to POST /chat, and the data of the `done` event."""

    message: str
    conversation_id: str
    message_id: str
    model: str
    sources: list[Source]
    usage: TurnUsageOut
    finish_reason: FinishReason


class ConversationOut(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    title: str
    created: Time
    updated: Time
    turns: int


class ConversationsOut(msgspec.Struct, frozen=True, kw_only=True):
    conversations: list[ConversationOut]
    cursor: str | None


class MessageOut(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A user's message, or an answer with its sources, model, usage and feedback."""

    id: str
    role: Literal["user", "assistant"]
    content: str
    created: Time
    model: str | None = None
    sources: list[Source] | None = None
    usage: TurnUsageOut | None = None
    finish_reason: FinishReason | None = None
    feedback: Feedback | None = None


class MessagesOut(msgspec.Struct, frozen=True, kw_only=True):
    conversation: ConversationOut
    messages: list[MessageOut]
    cursor: str | None


class ExportedConversation(msgspec.Struct, frozen=True, kw_only=True):
    conversation: ConversationOut
    messages: list[MessageOut]


class PeriodOut(msgspec.Struct, frozen=True, kw_only=True):
    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: USD


class LimitsOut(msgspec.Struct, frozen=True, kw_only=True):
    requests_per_minute: int
    daily_usd: USD


class UsageOut(msgspec.Struct, frozen=True, kw_only=True):
    today: PeriodOut
    month: PeriodOut
    reserved_usd: USD
    limits: LimitsOut


class ExportOut(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is stored about the caller."""

    user_id: str
    exported: Time
    usage: UsageOut
    conversations: list[ExportedConversation]


class ModelOut(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's fields, then ours. Prices are US dollars per million tokens."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    context_tokens: int | None
    input_usd_per_million: USD
    output_usd_per_million: USD
    shutdown: str | None
    default: bool


class ModelsOut(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[ModelOut]


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457. `code` is stable; `detail` and `mend` are for people."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    mend: str
    request_id: str
    pointer: str | None = None
    category: str | None = None
    successor: str | None = None


class PassageOut(msgspec.Struct, frozen=True, kw_only=True):
    """What a source of an answer says, as Markdown, and the documentation that it is from."""

    id: str
    title: str
    text: str
    url: str


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    status: Literal["ok"]


def usd(micros: MicroUSD) -> str:
    """Micro-dollars as a decimal number of dollars, exactly."""
    whole, rest = divmod(micros, 1_000_000)
    return f"{whole}.{rest:06}".rstrip("0").rstrip(".")


def sign_in(settings: Settings) -> SignInOut:
    if settings.auth != "oidc":
        return SignInOut(mode=settings.auth)
    return SignInOut(
        mode=settings.auth,
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        client_id=settings.oidc_client_id or None,
        scopes=settings.oidc_scopes.split(),
    )


def answer(turn: Turn) -> AnswerOut:
    return AnswerOut(
        message=turn.answer,
        conversation_id=turn.conversation_id,
        message_id=turn.message_id,
        model=turn.model,
        sources=turn.sources,
        usage=_turn_usage(turn),
        finish_reason=turn.finish_reason,
    )


def conversation(found: Conversation) -> ConversationOut:
    return ConversationOut(
        id=found.id,
        title=found.title,
        created=keys.rfc3339(found.created),
        updated=keys.rfc3339(found.updated),
        turns=found.turns,
    )


def conversations(page: ConversationPage) -> ConversationsOut:
    return ConversationsOut(conversations=[conversation(each) for each in page.conversations], cursor=page.cursor)


def messages(turns: list[Turn]) -> list[MessageOut]:
    """A question's id is its answer's with `.question` behind it."""
    found: list[MessageOut] = []
    for turn in turns:
        created = keys.rfc3339(turn.created)
        question_id = f"{turn.message_id}.question"
        found.append(MessageOut(id=question_id, role="user", content=turn.question, created=created))
        found.append(
            MessageOut(
                id=turn.message_id,
                role="assistant",
                content=turn.answer,
                created=created,
                model=turn.model,
                sources=turn.sources,
                usage=_turn_usage(turn),
                finish_reason=turn.finish_reason,
                feedback=turn.feedback,
            )
        )
    return found


def turn_page(page: TurnPage) -> MessagesOut:
    return MessagesOut(conversation=conversation(page.conversation), messages=messages(page.turns), cursor=page.cursor)


def exported(found: Conversation, turns: list[Turn]) -> ExportedConversation:
    return ExportedConversation(conversation=conversation(found), messages=messages(turns))


def user_export(user_id: str, now: float, report: Report, found: list[tuple[Conversation, list[Turn]]]) -> ExportOut:
    """`now` in seconds since the epoch."""
    return ExportOut(
        user_id=user_id,
        exported=keys.rfc3339(now),
        usage=usage(report),
        conversations=[exported(*each) for each in found],
    )


def usage(report: Report) -> UsageOut:
    return UsageOut(
        today=_period(report.today),
        month=_period(report.month),
        reserved_usd=usd(report.reserved),
        limits=LimitsOut(requests_per_minute=report.requests_per_minute, daily_usd=usd(report.daily_micros)),
    )


def models(catalogue: Catalogue, provider: str, default: Model) -> ModelsOut:
    found = [_model(catalogue, each, default) for each in catalogue.living(provider)]
    bot = msgspec.structs.replace(_model(catalogue, default, default), id=BOT, owned_by=BOT, default=False)
    return ModelsOut(data=[bot, *found])


def _model(catalogue: Catalogue, model: Model, default: Model) -> ModelOut:
    price = catalogue.price(model)
    return ModelOut(
        id=model.id,
        created=_epoch(model.checked),
        owned_by=model.provider,
        context_tokens=model.context_tokens,
        input_usd_per_million=usd(price.input),
        output_usd_per_million=usd(price.output),
        shutdown=model.shutdown.isoformat() if model.shutdown else None,
        default=model.id == default.id,
    )


def _epoch(day: Any) -> int:
    return (day.toordinal() - 719_163) * keys.DAY_SECONDS  # 719,163: the ordinal of 1970-01-01


def _turn_usage(turn: Turn) -> TurnUsageOut:
    return TurnUsageOut(input_tokens=turn.input_tokens, output_tokens=turn.output_tokens, cost_usd=usd(turn.micros))


def _period(period: Period) -> PeriodOut:
    return PeriodOut(
        requests=period.requests,
        input_tokens=period.input_tokens,
        output_tokens=period.output_tokens,
        cost_usd=usd(period.micros),
    )
