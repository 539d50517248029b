"""The queue and the batches: nothing is lost, nothing is left, company does not change a picture."""

import gc
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from serving.pipelines.base import Job
from tests.conftest import Server, opened, requests, wait_for

Start = Callable[..., Server]
DRAWING = ("text2img", "img2img", "inpaint")


def _pixels(answer: dict[str, Any]) -> np.ndarray:
    return np.asarray(opened(answer)).astype(int)


@pytest.fixture
def busy(image_model: Path) -> dict[str, Any]:
    """Settings of a server for pictures only, and a request that keeps it busy until it is cancelled."""
    return {"model": str(image_model), "max_steps": 900, "timeout_seconds": 600}


@pytest.mark.parametrize("task", DRAWING)
def test_picture_alone_and_in_a_batch_differs_by_at_most_one_step_in_255(server: Server, task: str) -> None:
    bodies = [requests()[task] | {"prompt": f"prompt {seed}", "seed": seed, "steps": 4} for seed in range(4)]
    alone = [_pixels(server.ask(**body).json()) for body in bodies]
    together = server.client.post("/v1/endpoints/1:predict", json={"instances": bodies}).json()["predictions"]
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one - _pixels(other)).max() <= 1
    assert len({one.tobytes() for one in alone}) == len(bodies)


def test_deterministic_mode_gives_equal_bits_alone_and_under_load(start: Start, image_model: Path) -> None:
    server = start(model=str(image_model), deterministic=True)
    for task in DRAWING:
        body = requests()[task]
        alone = server.ask(**body).json()
        others = [body | {"seed": seed} for seed in range(6)]
        with ThreadPoolExecutor(7) as callers:
            *_, loaded = callers.map(lambda fields: server.ask(**fields).json(), [*others, body])
        assert alone["data"] == loaded["data"]
    assert server.metric("inference_batch_size_bucket", le="1.0") == server.metric("inference_batch_size_count")


def test_burst_over_the_queue_gets_429_and_every_other_request_its_picture(start: Start, busy: dict[str, Any]) -> None:
    server = start(**busy, max_queue=6, max_batch=2)
    limits = httpx2.Limits(max_connections=30)
    bodies = [requests()["text2img"] | {"seed": seed, "steps": 40} for seed in range(30)]
    client = httpx2.Client(base_url=server.url, timeout=60, limits=limits, trust_env=False)
    with client, ThreadPoolExecutor(30) as callers:
        responses = list(callers.map(lambda body: client.post("/invocations", json=body), bodies))
    answered = [response for response in responses if response.status_code == 200]
    refused = [response for response in responses if response.status_code == 429]
    assert len(answered) + len(refused) == 30
    assert len(answered) >= 6
    assert len(refused) >= 1
    assert all(int(response.headers["retry-after"]) >= 1 for response in refused)
    assert {response.json()["code"] for response in refused} == {"queue_full"}
    by_seed = [(body["seed"], response) for body, response in zip(bodies, responses, strict=True)]
    assert all(response.json()["seed"] == seed for seed, response in by_seed if response.status_code == 200)
    server.settle()


def test_requests_that_wait_together_run_together(start: Start, busy: dict[str, Any]) -> None:
    server = start(**busy, max_batch=4)
    with ThreadPoolExecutor(5) as callers:
        first = callers.submit(server.ask, **requests()["text2img"] | {"steps": 100})
        wait_for(lambda: server.metric("inference_running") == 1)
        rest = [callers.submit(server.ask, **requests()["text2img"] | {"seed": seed}) for seed in range(4)]
        assert [one.result().status_code for one in (first, *rest)] == [200] * 5
    assert server.metric("inference_batch_size_count") == 2


def test_different_sizes_never_share_a_batch(start: Start, busy: dict[str, Any]) -> None:
    server = start(**busy)
    with ThreadPoolExecutor(3) as callers:
        first = callers.submit(server.ask, **requests()["text2img"] | {"steps": 100})
        wait_for(lambda: server.metric("inference_running") == 1)
        rest = [callers.submit(server.ask, **requests()["text2img"], width=side, height=side) for side in (32, 64)]
        assert [opened(one.result().json()).size for one in (first, *rest)] == [(64, 64), (32, 32), (64, 64)]
    assert server.metric("inference_batch_size_count") == 3


def test_batch_is_capped_by_pixels(start: Start, busy: dict[str, Any]) -> None:
    server = start(**busy, max_batch_pixels=2 * 64 * 64)
    bodies = [requests()["text2img"] | {"seed": seed} for seed in range(4)]
    server.client.post("/predict", json={"instances": bodies})
    assert server.metric("inference_batch_size_count") == 2


def test_hundred_callers_who_leave_leave_no_work_and_no_memory(start: Start, busy: dict[str, Any]) -> None:
    server = start(**busy, max_queue=20)
    endless = requests()["text2img"] | {"steps": 900}

    def leave_a_hundred() -> None:
        for _ in range(5):
            for connection in _asked(server, [endless] * 20):
                connection.close()
            server.settle()

    leave_a_hundred()
    before = _resident_bytes()
    leave_a_hundred()
    gc.collect()
    assert [job for job in gc.get_objects() if type(job) is Job] == []
    assert _resident_bytes() - before < 32 * 1024 * 1024
    assert server.metric("inference_waiting") == server.metric("inference_running") == 0
    assert server.metric("inference_cancelled_total") == 200
    assert server.metric("inference_steps_total") < 200 * 900 / 4
    assert server.ask(**requests()["text2img"]).status_code == 200


def _asked(server: Server, bodies: list[dict[str, Any]]) -> list[socket.socket]:
    """Connections whose requests are all in the queue or in the model, and not answered."""
    there = server.metric("inference_waiting") + server.metric("inference_running")
    url = httpx2.URL(server.url)
    connections: list[socket.socket] = []
    for body in bodies:
        content = json.dumps(body).encode()
        head = (
            "POST /invocations HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
        )
        connections.append(socket.create_connection((url.host, url.port or 80)))
        connections[-1].sendall(head.format(len(content)).encode() + content)
    expected = there + len(bodies)
    wait_for(lambda: server.metric("inference_waiting") + server.metric("inference_running") == expected)
    return connections


def _resident_bytes() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def test_caller_who_leaves_an_event_stream_stops_the_work(start: Start, busy: dict[str, Any]) -> None:
    server = start(**busy)
    body = requests()["text2img"] | {"steps": 900}
    with server.client.stream("POST", "/invocations", json=body, headers={"Accept": "text/event-stream"}) as response:
        assert next(response.iter_lines()) == "event: step"
    server.settle()
    assert server.metric("inference_interrupted_total") == 1
    assert server.metric("inference_requests_total", task="text2img", code="client_left") == 1


def test_batch_goes_on_for_those_who_stay(start: Start, busy: dict[str, Any]) -> None:
    server = start(**busy, batch_window_ms=1000, max_batch=2)
    body = requests()["text2img"] | {"steps": 200}
    with ThreadPoolExecutor(1) as callers:
        staying = callers.submit(server.ask, **body)
        wait_for(lambda: server.metric("inference_waiting") == 1)
        (leaving,) = _asked(server, [body | {"seed": 8}])
        wait_for(lambda: server.metric("inference_running") == 2)
        leaving.close()
        assert staying.result().status_code == 200
    assert server.metric("inference_cancelled_total") == 1
    assert server.metric("inference_interrupted_total") == 0


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_request_over_the_time_out_is_stopped(start: Start, image_model: Path, accept: str) -> None:
    server = start(model=str(image_model), max_steps=900, timeout_seconds=0.2)
    response = server.ask(accept=accept, **requests()["text2img"] | {"steps": 900})
    if accept == "application/json":
        assert (response.status_code, response.json()["code"]) == (504, "timed_out")
    else:
        assert response.text.splitlines()[-3] == "event: error"
        assert '"code":"timed_out"' in response.text
    server.settle()
    assert server.metric("inference_interrupted_total") == 1


def test_more_instances_than_the_queue_takes_are_refused_whole(start: Start, busy: dict[str, Any]) -> None:
    server = start(**busy, max_queue=2)
    problem = server.client.post("/predict", json={"instances": [requests()["text2img"]] * 3})
    assert (problem.status_code, problem.json()["pointer"]) == (400, "/instances")
    assert server.metric("inference_batch_size_count") == 0
