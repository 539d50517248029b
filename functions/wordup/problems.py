"""Our errors as HTTP: one table from class to status, and the problem document (RFC 9457) of an error."""

from starlette.requests import Request

from wordup import errors
from wordup.schemas import Problem

# The nearest class up the tree decides.
STATUS: dict[type[errors.WordUpError], int] = {
    errors.WordUpError: 500,
    errors.RequestError: 400,
    errors.TooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.MissingToken: 401,
    errors.InvalidToken: 401,
    errors.WrongAccessKey: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.Conflict: 409,
    errors.IdempotencyMismatch: 409,
    errors.ContentBlocked: 422,
    errors.UnknownModel: 422,
    errors.ModelRetired: 422,
    errors.RateLimited: 429,
    errors.BudgetExceeded: 429,
    errors.ProviderError: 502,
    errors.ProviderBusy: 503,
    errors.ProviderTimeout: 504,
    errors.EndpointError: 502,
    errors.EndpointBusy: 503,
    errors.EndpointTimeout: 504,
    errors.StoreError: 503,
    errors.IssuerUnavailable: 503,
    errors.OutOfTime: 504,
    errors.SecretUnavailable: 503,
}
MEDIA_TYPE = "application/problem+json"


def status(kind: type[errors.WordUpError]) -> int:
    return next(STATUS[each] for each in kind.__mro__ if each in STATUS)


def of(error: errors.WordUpError, request_id: str) -> Problem:
    return Problem(
        type=f"urn:wordup:error:{error.code}",
        title=type(error).sentence,
        status=status(type(error)),
        code=error.code,
        detail=error.sentence,
        mend=error.mend,
        request_id=request_id,
        pointer=getattr(error, "pointer", None),
        category=getattr(error, "category", None),
        successor=getattr(error, "successor", None),
    )


def headers(error: errors.WordUpError) -> dict[str, str]:
    found = {"cache-control": "no-store"}
    if (seconds := getattr(error, "retry_after", None)) is not None:
        found["retry-after"] = str(seconds)
    if status(type(error)) == 401:
        found["www-authenticate"] = f'Bearer error="{error.code}"'
    return found


def request_id(request: Request) -> str:
    """The id that the middleware gave this request."""
    return request.scope["state"]["request_id"]
