"""The OpenAPI 3.1 document, made from the route table, the wire classes and the error tree: nothing is said twice."""

import re
from typing import Any

import msgspec

from wordup import completions, errors, problems, schemas
from wordup.routes import Route

TITLE = "Word Up! Bot"
_STREAMED = {
    "/chat": "`start`, `progress`..., `delta`..., then `done` (this object), `blocked` or `error` (a problem).",
    completions.PATH: "`chat.completion.chunk` objects, then `[DONE]`.",
}


def document(routes: list[Route], version: str) -> dict[str, Any]:
    types = [
        schemas.Problem,
        completions.ErrorOut,
        *(t for route in routes for t in (route.takes, route.gives) if t is not None),
    ]
    unique = list(dict.fromkeys(types))
    described, components = msgspec.json.schema_components(unique, ref_template="#/components/schemas/{name}")
    references = dict(zip(unique, described, strict=True))
    by_code = {kind.code: kind for kind in _tree(errors.WordUpError)}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, references, by_code)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": version, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": "."}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "access_key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    }


def codes(route: Route) -> list[str]:
    """Every error code that a route may answer with."""
    found = ["internal_error", "out_of_time", "store_unavailable", *route.errors]
    if route.signed_in:
        found += ["missing_token", "invalid_token", "expired_token", "wrong_access_key", "rate_limited"]
        found += ["secret_unavailable", "issuer_unavailable"]
    if route.path == "/v1/sessions":
        found.append("secret_unavailable")
    if route.takes is not None:
        found += ["malformed_json", "invalid_field", "unknown_field", "too_large", "unsupported_media_type"]
    return list(dict.fromkeys(found))


def _operation(route: Route, references: dict[type, Any], by_code: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "responses": {str(route.status): _success(route, references), **_refusals(route, references, by_code)},
    }
    if route.signed_in:
        operation["security"] = [{"token": []}, {"access_key": []}]
    elif route.path == "/v1/sessions":
        operation["security"] = [{"access_key": []}, {"token": []}]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in route.query.items()
    ]
    if route.path == "/chat":
        description = "Repeats of a request with the same key within 24 hours give the first one's turn."
        key = {"name": "Idempotency-Key", "in": "header", "required": False, "description": description}
        parameters.append({**key, "schema": {"type": "string", "minLength": 1, "maxLength": 255}})
    if parameters:
        operation["parameters"] = parameters
    if route.takes is not None:
        content = {"application/json": {"schema": references[route.takes]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _success(route: Route, references: dict[type, Any]) -> dict[str, Any]:
    if route.gives is None:
        return {"description": "Done."}
    content: dict[str, Any] = {"application/json": {"schema": references[route.gives]}}
    if route.path in _STREAMED:
        content["text/event-stream"] = {"schema": {"type": "string", "description": _STREAMED[route.path]}}
    if "format" in route.query:
        content["text/markdown"] = {"schema": {"type": "string"}}
    return {"description": "Done.", "content": content}


def _refusals(route: Route, references: dict[type, Any], by_code: dict[str, Any]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code in codes(route):
        by_status.setdefault(problems.status(by_code[code]), []).append(code)
    content = {problems.MEDIA_TYPE: {"schema": references[schemas.Problem]}}
    if route.path == completions.PATH:
        content = {"application/json": {"schema": references[completions.ErrorOut]}}
    return {
        str(status): {"description": ", ".join(f"`{code}`" for code in sorted(found)), "content": content}
        for status, found in sorted(by_status.items())
    }


def _tree(kind: type[errors.WordUpError]) -> list[type[errors.WordUpError]]:
    # The first class of a code wins, so that a subclass without a code of its own does not take its parent's place.
    return [*(each for sub in kind.__subclasses__()[::-1] for each in _tree(sub)), kind]
