from openapi_spec_validator import validate

from tests.serving import Caller


def test_description_is_valid_openapi(caller: Caller) -> None:
    document = caller.http.get("/openapi.json").json()

    validate(document)

    assert {"/chat", "/v1/sessions"} <= document["paths"].keys()
