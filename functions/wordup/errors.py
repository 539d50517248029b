"""Every way the bot fails, who raises it and what the caller should do.

WordUpError                     code, sentence, mend
 |- RequestError                the caller's request is at fault; nothing was changed
 |   |- MalformedJSON           app: the body is not JSON -> send valid JSON
 |   |- InvalidField            app, use cases: a field's type or value (`pointer` names it) -> mend that field
 |   |- UnknownField            app: a field nobody reads -> leave it out
 |   |- TooLarge                app: the body is over its limit -> send less
 |   |- UnsupportedMediaType    app: the body is not application/json -> set Content-Type
 |   |- MissingToken            auth: no credentials at all -> open a session
 |   |- InvalidToken            auth: the token was signed by nobody we trust -> open a session
 |   |- ExpiredToken            auth: the token's time is over -> open a session
 |   |- WrongAccessKey          auth: the access key is unknown or revoked -> ask the operator for one
 |   |- NotFound                use cases: no such thing, or it belongs to someone else
 |   |- MethodNotAllowed        app: the path exists, the method does not
 |   |- Conflict                chat: the same key or conversation is being worked on -> wait `retry_after`, repeat
 |   |- IdempotencyMismatch     chat: the key was used with another body -> use a new key
 |   |- ContentBlocked          moderation: refused for its content (`category`)
 |   |- UnknownModel            routing: the catalogue has no such model -> GET /v1/models
 |   |- ModelRetired            routing: the model was shut down (`successor`) -> use the successor
 |   |- RateLimited             limits: too many requests in this window -> wait `retry_after`
 |   `- BudgetExceeded          limits: the day's money is spent -> wait `retry_after`
 |- ProviderError               providers: the model's service failed; the turn was not recorded -> repeat later
 |   |- ProviderBusy            it throttles or is overloaded -> wait `retry_after`
 |   |- ProviderTimeout         no answer in time
 |   |- ProviderTruncated       the answer's stream ended without its end
 |   `- ProviderRefused         it refused our request or key: the operator's to mend
 |- EndpointError               endpoints: the media endpoint failed -> repeat later
 |   |- EndpointBusy            its queue is full, or it is starting -> wait `retry_after`
 |   |- EndpointTimeout         no result in time -> ask for less
 |   `- EndpointRefused         it refused our address, key or deployment: the operator's to mend
 |- StoreError                  stores
 |   |- StoreUnavailable        the database cannot be reached or throttles beyond our retries -> repeat later
 |   |- ConditionFailed         a conditional write lost (`sk` names the row): the use case reads again
 |   |- CeilingReached          a counter would pass its ceiling (`sk`, `field`): limits turns it into a 429
 |   `- RowTooLarge             one row is over the database's limit: the use case bounds its input
 |- OutOfTime                   api_gateway: the function's own time is over -> look into the conversation
 |- IssuerUnavailable           oidc: the issuer's keys cannot be read -> repeat later
 |- SecretUnavailable           secrets: a referenced secret cannot be read: the operator's to mend
 `- ConfigurationError          config, bootstrap, infra: a setting is wrong (`setting` names it); raised at start
"""


class WordUpError(Exception):
    """The root. `code` is stable and machine-readable, `sentence` is for a person, `mend` says what to do."""

    code = "internal_error"
    sentence = "Something went wrong on our side."
    mend = "Try again; if it stays, give the operator the request id."

    def __init__(self, sentence: str | None = None, *, mend: str | None = None) -> None:
        self.sentence = sentence or self.sentence
        self.mend = mend or self.mend
        super().__init__(self.sentence)


class RequestError(WordUpError):
    code = "bad_request"
    sentence = "The request cannot be understood."
    mend = "Compare the request with /openapi.json."


class MalformedJSON(RequestError):
    code = "malformed_json"
    sentence = "The body is not valid JSON in UTF-8."
    mend = "Send one JSON object."


class InvalidField(RequestError):
    code = "invalid_field"

    def __init__(self, pointer: str, sentence: str, *, mend: str | None = None) -> None:
        super().__init__(sentence, mend=mend or "Mend the field that `pointer` names.")
        self.pointer = pointer


class UnknownField(InvalidField):
    code = "unknown_field"


class TooLarge(RequestError):
    code = "too_large"
    sentence = "The request body is too large."
    mend = "Send a shorter body."


class UnsupportedMediaType(RequestError):
    code = "unsupported_media_type"
    sentence = "The body must be JSON."
    mend = "Set Content-Type: application/json."


class MissingToken(RequestError):
    code = "missing_token"
    sentence = "This needs a session."
    mend = "Send Authorization: Bearer <token>; POST /v1/sessions gives one for an access key."


class InvalidToken(RequestError):
    code = "invalid_token"
    sentence = "The session token is not valid."
    mend = "Open a new session with POST /v1/sessions."


class ExpiredToken(InvalidToken):
    code = "expired_token"
    sentence = "The session has expired."


class WrongAccessKey(RequestError):
    code = "wrong_access_key"
    sentence = "The access key is unknown or was revoked."
    mend = "Check the key, or ask the operator for a new one."


class NotFound(RequestError):
    code = "not_found"
    sentence = "There is no such thing here."
    mend = "Check the address; what belongs to someone else is not shown."


class MethodNotAllowed(RequestError):
    code = "method_not_allowed"
    sentence = "This address does not take that method."
    mend = "See /openapi.json for the methods it takes."


class _Wait(RequestError):
    """A refusal that passes with time: `retry_after` is in whole seconds."""

    def __init__(self, sentence: str | None = None, *, retry_after: int = 1, mend: str | None = None) -> None:
        super().__init__(sentence, mend=mend)
        self.retry_after = max(1, retry_after)


class Conflict(_Wait):
    code = "conflict"
    sentence = "The same thing is being changed by another request."
    mend = "Wait a moment and repeat the request."


class IdempotencyMismatch(RequestError):
    code = "idempotency_mismatch"
    sentence = "This Idempotency-Key was used with a different request."
    mend = "Use a new key for a new request."


class ContentBlocked(RequestError):
    code = "content_blocked"
    sentence = "The message was blocked."
    mend = "Rephrase it; blocked messages can be reviewed by the operator."

    def __init__(self, category: str, sentence: str | None = None) -> None:
        super().__init__(sentence)
        self.category = category


class UnknownModel(RequestError):
    code = "unknown_model"
    sentence = "There is no such model in this deployment."
    mend = "GET /v1/models lists the models; the operator adds one, with its price, in wordup.toml."


class ModelRetired(RequestError):
    code = "model_retired"
    sentence = "The model was shut down by its provider."

    def __init__(self, sentence: str | None = None, *, successor: str | None = None) -> None:
        super().__init__(sentence, mend=f"Use {successor}." if successor else "GET /v1/models lists the living ones.")
        self.successor = successor


class RateLimited(_Wait):
    code = "rate_limited"
    sentence = "Too many requests."
    mend = "Wait as long as Retry-After says."


class BudgetExceeded(_Wait):
    code = "budget_exceeded"
    sentence = "The budget for today is spent."
    mend = "Wait until midnight UTC, or ask the operator to raise the limit."


class ProviderError(WordUpError):
    code = "provider_error"
    sentence = "The model's service failed; nothing was recorded."
    mend = "Send the message again."


class ProviderBusy(ProviderError):
    code = "provider_busy"
    sentence = "The model's service is overloaded; nothing was recorded."
    mend = "Wait as long as Retry-After says, then send the message again."

    def __init__(self, sentence: str | None = None, *, retry_after: int = 5, mend: str | None = None) -> None:
        super().__init__(sentence, mend=mend)
        self.retry_after = max(1, retry_after)


class ProviderTimeout(ProviderError):
    code = "provider_timeout"
    sentence = "The model's service did not answer in time; nothing was recorded."


class ProviderTruncated(ProviderError):
    sentence = "The model's answer broke off; nothing was recorded."


class ProviderRefused(ProviderError):
    sentence = "The model's service refused our request; nothing was recorded."
    mend = "The operator finds the reason in the log: most often the provider's key or the model's name."


class EndpointError(WordUpError):
    code = "endpoint_error"
    sentence = "The media endpoint failed."
    mend = "Send the request again."


class EndpointBusy(EndpointError):
    code = "endpoint_busy"
    sentence = "The media endpoint is busy or starting."
    mend = "Wait as long as Retry-After says, then send the request again."

    def __init__(self, sentence: str | None = None, *, retry_after: int = 5, mend: str | None = None) -> None:
        super().__init__(sentence, mend=mend)
        self.retry_after = max(1, retry_after)


class EndpointTimeout(EndpointError):
    code = "endpoint_timeout"
    sentence = "The media endpoint gave no result in time."
    mend = "Ask for fewer steps, pixels or frames."


class EndpointRefused(EndpointError):
    sentence = "The media endpoint refused our request."
    mend = "The operator checks the endpoint's address, its key or role, and that it serves this task."


class StoreError(WordUpError):
    code = "store_unavailable"


class StoreUnavailable(StoreError):
    sentence = "The database cannot be reached."
    mend = "Try again in a few seconds."


class ConditionFailed(StoreError):
    """A conditional write lost its race; `sk` is the first row whose condition did not hold."""

    def __init__(self, sk: str) -> None:
        super().__init__(f"the condition on {sk.split(':', 1)[0]} does not hold")
        self.sk = sk


class CeilingReached(StoreError):
    """A counter would pass its ceiling; `sk` and `field` name it."""

    def __init__(self, sk: str, field: str) -> None:
        super().__init__(f"the ceiling of {field} is reached")
        self.sk = sk
        self.field = field


class RowTooLarge(StoreError):
    sentence = "The row is larger than the database takes."


class IssuerUnavailable(WordUpError):
    code = "issuer_unavailable"
    sentence = "The issuer of the tokens cannot be reached."
    mend = "Wait as long as Retry-After says; if it stays, the operator checks WORDUP_OIDC_ISSUER."

    def __init__(self, sentence: str | None = None, *, retry_after: int = 10, mend: str | None = None) -> None:
        super().__init__(sentence, mend=mend)
        self.retry_after = max(1, retry_after)


class OutOfTime(WordUpError):
    code = "out_of_time"
    sentence = "The answer took longer than the function may run."
    mend = "Look into the conversation: what had come by then may be there. Else send the message again."


class SecretUnavailable(WordUpError):
    code = "secret_unavailable"
    sentence = "A secret that the bot needs cannot be read."
    mend = "The operator checks the secret's reference and the function's right to read it."


class ConfigurationError(WordUpError):
    code = "configuration_error"

    def __init__(self, setting: str, sentence: str, *, mend: str | None = None) -> None:
        super().__init__(sentence, mend=mend or f"Mend {setting}.")
        self.setting = setting
