"""The program as a platform starts and stops it: one process, its exit status, its signals."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.conftest import requests, wait_for

ROOT = Path(__file__).parents[1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def _process(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", *arguments],
        cwd=ROOT,
        env=inherited | environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _answers(url: str, path: str, status: int) -> bool:
    try:
        return httpx2.get(f"{url}{path}", trust_env=False).status_code == status
    except httpx2.TransportError:
        return False


def test_server_lives_before_it_is_ready_and_drains_on_sigterm(image_model: Path) -> None:
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    ours = {"INFERENCE_MODEL": str(image_model), "INFERENCE_DEFAULT_SIDE": "64", "INFERENCE_THREADS": "1"}
    with _process("serve", AIP_HTTP_PORT=str(port), **ours, INFERENCE_MAX_STEPS="900") as process:
        wait_for(lambda: _answers(url, "/livez", 200))
        wait_for(lambda: _answers(url, "/ping", 200))
        with ThreadPoolExecutor(1) as caller, httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
            body = requests()["text2img"] | {"steps": 200}
            answer = caller.submit(client.post, "/invocations", json=body)
            wait_for(lambda: "inference_running 1.0" in httpx2.get(f"{url}/metrics", trust_env=False).text)
            process.send_signal(signal.SIGTERM)
            assert answer.result().status_code == 200
        assert process.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "reason"),
    [
        (["serve"], {"INFERENCE_MODEL": "absent"}, 1, "absent is no folder"),
        ([], {}, 2, "No model is named"),
        (["train"], {}, 2, "invalid choice"),
    ],
)
def test_process_that_cannot_serve_ends_with_its_reason(
    arguments: list[str], environment: dict[str, str], status: int, reason: str
) -> None:
    with _process(*arguments, **environment, PORT=str(_free_port())) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert reason in errors
