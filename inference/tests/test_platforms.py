"""Every task through every platform's routes, and each platform's envelope to the letter."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import Server, opened, requests

EVENTS = Path(__file__).parent / "events"
ROUTES = {"sagemaker": "/invocations", "azure_ml": "/score", "cloud_run": "/invocations"}
HEALTH = ("/ping", "/readyz", "/livez", "/v1/endpoints/1/health")


def _one(server: Server, platform: str, body: dict[str, Any]) -> dict[str, Any]:
    """Sends the request as the platform does and unwraps its answer."""
    if platform == "vertex":
        response = server.client.post("/v1/endpoints/1:predict", json={"instances": [body]})
        assert response.status_code == 200, response.text
        (prediction,) = response.json()["predictions"]
        return prediction
    response = server.client.post(ROUTES[platform], json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("platform", [*ROUTES, "vertex"])
@pytest.mark.parametrize("task", requests())
def test_every_task_through_every_platform_gives_its_result(server: Server, platform: str, task: str) -> None:
    answer = _one(server, platform, requests()[task])
    assert answer["task"] == task
    if task == "classify":
        assert [sorted(pair["label"] for pair in scores) for scores in answer["images"]] == [["fake", "real"]] * 2
        assert all(abs(sum(pair["score"] for pair in scores) - 1) < 1e-6 for scores in answer["images"])
    elif task == "text2video":
        assert (answer["media_type"], answer["seed"]) == ("video/mp4", 7)
    else:
        assert opened(answer).size == (answer["width"], answer["height"]) == (64, 64)
        assert (answer["media_type"], answer["seed"]) == ("image/png", 7)


@pytest.mark.parametrize("event", sorted(EVENTS.rglob("*.json")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_platform_envelope_is_answered_to_the_letter(server: Server, event: Path) -> None:
    recorded = json.loads(event.read_text())
    request, expected = recorded["request"], recorded["response"]
    body = json.dumps(request["body"]) if "body" in request else None
    response = server.client.request(request["method"], request["path"], headers=request["headers"], content=body)
    assert response.status_code == expected["status"]
    assert {name: response.headers.get(name) for name in expected["headers"]} == expected["headers"]
    if "body" in expected:
        _matches(response.json(), expected["body"])


def _matches(actual: Any, expected: Any) -> None:
    """Equal, save that "<type>" stands for any value of that JSON type."""
    kinds: dict[str, type] = {"<string>": str, "<number>": float, "<integer>": int}
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for name in expected:
            _matches(actual[name], expected[name])
    elif isinstance(expected, list):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            _matches(one, other)
    elif isinstance(expected, str) and expected in kinds:
        assert isinstance(actual, kinds[expected])
    else:
        assert actual == expected


@pytest.mark.parametrize("path", HEALTH)
def test_health_routes_of_a_loaded_server_answer_200(server: Server, path: str) -> None:
    assert server.client.get(path).status_code == 200


def test_vertex_instances_share_one_batch_and_take_parameters_as_defaults(server: Server) -> None:
    before = server.metric("inference_batch_size_count")
    body = {
        "instances": [{"prompt": "one"}, {"prompt": "two", "seed": 5}],
        "parameters": {"task": "text2img", "steps": 2, "seed": 4},
    }
    response = server.client.post("/v1/endpoints/1:predict", json=body)
    assert [one["seed"] for one in response.json()["predictions"]] == [4, 5]
    assert server.metric("inference_batch_size_count") == before + 1


def test_vertex_error_points_into_the_instances(server: Server) -> None:
    body = {"instances": [requests()["text2img"], {"task": "text2img", "prompt": "x", "steps": "many"}]}
    problem = server.client.post("/v1/endpoints/1:predict", json=body)
    assert (problem.status_code, problem.json()["pointer"]) == (400, "/instances/1/steps")


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "image/webp", "image/*"])
def test_accept_picture_gives_the_file_itself(server: Server, media_type: str) -> None:
    response = server.ask(accept=media_type, **requests()["text2img"])
    assert response.headers["content-type"] == media_type.replace("*", "png")
    assert response.headers["x-seed"] == "7"
    assert response.content[:4] in (b"\x89PNG", b"\xff\xd8\xff\xe0", b"RIFF")


def test_accept_that_the_task_does_not_produce_gives_406(server: Server) -> None:
    for accept, task in (("audio/mpeg", "text2img"), ("video/mp4", "text2img"), ("image/png", "classify")):
        assert server.ask(accept=accept, **requests()[task]).status_code == 406
    assert server.ask(accept="image/png", **requests()["text2img"], format="webp").status_code == 406


def test_event_stream_gives_every_step_and_then_the_result(server: Server) -> None:
    body = requests()["text2img"] | {"steps": 5}
    with server.client.stream("POST", "/invocations", json=body, headers={"Accept": "text/event-stream"}) as response:
        events = _events(response)
    assert [name for name, _ in events] == ["step"] * 5 + ["result"]
    assert [data for _, data in events[:5]] == [{"step": step, "steps": 5} for step in range(1, 6)]
    assert opened(events[-1][1]).size == (64, 64)


def test_event_stream_of_a_wrong_request_is_a_plain_problem(server: Server) -> None:
    response = server.ask(accept="text/event-stream", task="text2img", prompt="")
    assert (response.status_code, response.headers["content-type"]) == (400, "application/problem+json")


def _events(response: httpx2.Response) -> list[tuple[str, dict[str, Any]]]:
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block.splitlines() for block in response.read().decode().split("\n\n") if block]
    return [(lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))) for lines in blocks]


def test_same_seed_gives_the_same_picture_and_another_seed_another(server: Server) -> None:
    first, again, other = (
        server.ask(**requests()["text2img"] | {"seed": seed}).json()["data"] for seed in (11, 11, 12)
    )
    assert first == again != other


def test_token_is_asked_for_where_it_is_set(start: Callable[..., Server], image_model: Path) -> None:
    server = start(model=str(image_model), token="correct")
    refused = server.ask(**requests()["text2img"])
    assert (refused.status_code, refused.json()["code"]) == (401, "wrong_token")
    allowed = server.client.post(
        "/invocations", json=requests()["text2img"], headers={"Authorization": "Bearer correct"}
    )
    assert allowed.status_code == 200
    assert server.client.get("/ping").status_code == 200


def test_task_without_a_model_names_the_tasks_that_there_are(start: Callable[..., Server], image_model: Path) -> None:
    problem = start(model=str(image_model)).ask(**requests()["classify"])
    assert problem.status_code == 422
    assert problem.json()["mend"] == "This server does img2img, inpaint, text2img."


def test_drawn_seed_survives_being_a_double(server: Server) -> None:
    body = {name: value for name, value in requests()["text2img"].items() if name != "seed"}
    first = server.ask(**body).json()
    assert float(first["seed"]) == first["seed"] < 2**53
    again = server.client.post("/v1/endpoints/1:predict", json={"instances": [body | {"seed": float(first["seed"])}]})
    assert again.json()["predictions"][0]["data"] == first["data"]


def test_metrics_count_answers_and_cached_prompts(server: Server) -> None:
    before = server.metric("inference_embeddings_total", result="hit")
    for _ in range(2):
        server.ask(**requests()["text2img"] | {"prompt": "asked twice"})
    assert server.metric("inference_embeddings_total", result="hit") >= before + 1
    scraped = server.client.get("/metrics")
    assert 'inference_requests_total{code="ok",task="text2img"}' in scraped.text
