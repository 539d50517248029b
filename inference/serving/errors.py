"""Every way the server fails, who raises it and what the caller should do. `app` alone knows the HTTP statuses.

InferenceError                  code, sentence, mend
 |- RequestError                the caller's request is at fault; nothing ran
 |   |- MalformedJSON           envelopes: the body is not JSON -> send valid JSON
 |   |- InvalidField            requests, intake: a field's type or value (`pointer` names it) -> mend that field
 |   |   |- InvalidImage        images: not an image we take, broken, or larger than the limit
 |   |   |- ForbiddenURI        objects: the address is not an allowed object -> use an allowed bucket
 |   |   `- ObjectUnavailable   objects: the storage lacks the object or refuses us
 |   |- BodyTooLarge            app: the body is over its limit -> give large inputs by object-storage address
 |   |- UnsupportedMediaType    app: the body is not application/json -> set Content-Type
 |   |- NotAcceptable           envelopes: Accept names what this task does not produce
 |   |- WrongToken              app: the bearer token is missing or wrong
 |   |- NotFound                app: no such route
 |   |- MethodNotAllowed        app: the route exists, the method does not
 |   |- UnsupportedTask         app: no loaded model does this task
 |   |- OverMemoryBudget        memory: the request cannot fit beside the weights -> ask for fewer pixels
 |   |- ResultTooLarge          outputs: the answer is over the platform's limit -> name an `output_uri`
 |   |- ContentBlocked          safety: refused for its content
 |   `- QueueFull               batching: wait `retry_after` seconds, repeat
 |- ServerError                 not the caller's fault
 |   |- NotReady                app: the model is still loading, or the server is draining -> wait `retry_after`
 |   |- TimedOut                app: no result within the time-out; the work was stopped
 |   |- OutOfMemory             pipelines: the device ran out of memory -> wait `retry_after`
 |   |- SigningFailed           provenance: the content credentials could not be attached
 |   `- PipelineFailed          pipelines: the model failed or gave no picture
 |- Interrupted                 pipelines: every caller of the batch has left; never reaches one
 |- ModelRefused                loading: the model is unsafe, unknown or does not fit; the server does not start
 `- ConfigurationError          config: a setting is wrong (`setting` names it); the server does not start
"""


class InferenceError(Exception):
    """The root. `code` is stable and machine-readable, `sentence` is for a person, `mend` says what to do."""

    code = "internal_error"
    sentence = "Something went wrong on our side."
    mend = "Try again; if it stays, give the operator the request id."

    def __init__(self, sentence: str | None = None, *, mend: str | None = None) -> None:
        self.sentence = sentence or self.sentence
        self.mend = mend or self.mend
        super().__init__(self.sentence)


class RequestError(InferenceError):
    code = "bad_request"


class MalformedJSON(RequestError):
    code = "malformed_json"
    sentence = "The body is not a JSON object in UTF-8."
    mend = "Send one JSON object."


class InvalidField(RequestError):
    """`pointer` is a JSON pointer into the request's body."""

    code = "invalid_field"

    def __init__(self, pointer: str, sentence: str, *, mend: str | None = None) -> None:
        super().__init__(sentence, mend=mend or "Mend the field that `pointer` names.")
        self.pointer = pointer


class InvalidImage(InvalidField):
    code = "invalid_image"


class ForbiddenURI(InvalidField):
    code = "forbidden_uri"


class ObjectUnavailable(InvalidField):
    code = "object_unavailable"


class BodyTooLarge(RequestError):
    code = "body_too_large"
    mend = "Put large inputs into object storage and name their addresses."


class UnsupportedMediaType(RequestError):
    code = "unsupported_media_type"
    sentence = "The body must be JSON."
    mend = "Set Content-Type: application/json."


class NotAcceptable(RequestError):
    code = "not_acceptable"


class WrongToken(RequestError):
    code = "wrong_token"
    sentence = "The bearer token is missing or wrong."
    mend = "Send Authorization: Bearer <token>; the operator knows the token."


class NotFound(RequestError):
    code = "not_found"
    sentence = "There is nothing at this address."
    mend = "POST /invocations takes a request."


class MethodNotAllowed(RequestError):
    code = "method_not_allowed"
    sentence = "This address does not take that method."
    mend = "POST to predict, GET for health."


class UnsupportedTask(RequestError):
    code = "unsupported_task"


class OverMemoryBudget(RequestError):
    code = "over_memory_budget"
    mend = "Ask for fewer pixels or frames, or serve the model on a larger machine."


class ResultTooLarge(RequestError):
    code = "result_too_large"
    mend = "Name an `output_uri` in object storage, or ask for a smaller format."


class ContentBlocked(RequestError):
    code = "content_blocked"
    sentence = "The picture was blocked by the safety checker."
    mend = "Change the prompt or the picture."


class QueueFull(RequestError):
    """`retry_after` is in whole seconds, from how long the waiting work is expected to take."""

    code = "queue_full"
    sentence = "The queue is full."
    mend = "Wait as long as Retry-After says."

    def __init__(self, *, retry_after: int) -> None:
        super().__init__()
        self.retry_after = max(1, retry_after)


class ServerError(InferenceError):
    code = "internal_error"


class NotReady(ServerError):
    code = "not_ready"
    sentence = "The server is loading its model or going away."
    mend = "Wait as long as Retry-After says."
    retry_after = 5


class TimedOut(ServerError):
    code = "timed_out"
    sentence = "The request took longer than the server's time-out and was stopped."
    mend = "Ask for fewer steps or pixels, or use the platform's asynchronous variant."


class OutOfMemory(ServerError):
    code = "out_of_memory"
    sentence = "The device ran out of memory."
    mend = "Wait as long as Retry-After says; the operator lowers INFERENCE_MEMORY_BYTES."
    retry_after = 5


class SigningFailed(ServerError):
    code = "signing_failed"
    sentence = "The content credentials could not be attached."
    mend = "The operator checks the signing certificate and key."


class PipelineFailed(ServerError):
    code = "pipeline_failed"
    sentence = "The model failed."


class Interrupted(InferenceError):
    code = "interrupted"
    sentence = "Every caller has left."


class ModelRefused(InferenceError):
    code = "model_refused"


class ConfigurationError(InferenceError):
    code = "configuration_error"

    def __init__(self, setting: str, sentence: str, *, mend: str | None = None) -> None:
        super().__init__(sentence, mend=mend or f"Mend {setting}.")
        self.setting = setting
