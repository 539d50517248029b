"""Real servers over real sockets, in this process: only the weights are random. Nothing leaves the loopback."""

import asyncio
import base64
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
import torch
import uvicorn
from PIL import Image

from serving.app import create_app
from serving.config import Settings
from serving.service import Service
from tests import tiny

# What the platforms set in the container's environment, beside what the deployment sets.
PLATFORM_ENVIRONMENT = {
    "AIP_PREDICT_ROUTE": "/v1/endpoints/1:predict",
    "AIP_HEALTH_ROUTE": "/v1/endpoints/1/health",
    "SAGEMAKER_BIND_TO_PORT": "8080",
}


class Server:
    """A running server: `client` talks to it, `service` is its inside."""

    def __init__(self, url: str, service: Service) -> None:
        self.url, self.service = url, service
        self.client = httpx2.Client(base_url=url, timeout=60, trust_env=False)

    def ask(self, path: str = "/invocations", accept: str = "application/json", **fields: object) -> httpx2.Response:
        return self.client.post(path, json=fields, headers={"Accept": accept})

    def metric(self, name: str, **labels: str) -> float:
        return self.service.metrics.registry.get_sample_value(name, labels) or 0.0

    def settle(self) -> None:
        """Returns when no request is in the server. Raises TimeoutError after 30 s."""
        wait_for(lambda: self.service.idle)


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not come about")
        time.sleep(0.005)


@contextmanager
def serving(settings: Settings) -> Iterator[Server]:
    failures: list[BaseException] = []
    app = create_app(settings, on_failure=failures.append)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(),))
    thread.start()
    service: Service = app.state.service
    try:
        wait_for(lambda: server.started and (service.ready or failures))
        assert failures == []
        port = server.servers[0].sockets[0].getsockname()[1]
        running = Server(f"http://127.0.0.1:{port}", service)
        with running.client:
            yield running
    finally:
        server.should_exit = True
        thread.join()
        loop.close()


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The value of INFERENCE_MODEL that serves every task."""
    return tiny.everything(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def image_model(models: str) -> Path:
    return Path(models.split(",")[0])


@pytest.fixture(scope="session")
def video_model(models: str) -> Path:
    return Path(models.split(",")[1])


@pytest.fixture(scope="session")
def settings(models: str) -> Callable[..., Settings]:
    """Settings for tiny pictures: 64 x 64 unless told."""

    def make(**fields: object) -> Settings:
        values: dict[str, object] = {"model": models, "default_side": 64, "threads": 1, "max_side": 128}
        return Settings.parse(values | fields)

    return make


@pytest.fixture(scope="session")
def server(models: str) -> Iterator[Server]:
    """One server that every platform would find its routes on."""
    ours = {"INFERENCE_MODEL": models, "INFERENCE_DEFAULT_SIDE": "64", "INFERENCE_THREADS": "1"}
    with serving(Settings.from_env(PLATFORM_ENVIRONMENT | ours)) as running:
        yield running


@pytest.fixture
def start(settings: Callable[..., Settings]) -> Iterator[Callable[..., Server]]:
    """Starts a server with these settings, for this test."""
    with ExitStack() as stack:
        yield lambda **fields: stack.enter_context(serving(settings(**fields)))


def picture(width: int = 64, height: int = 64, mode: str = "RGB") -> Image.Image:
    """A picture with something in it: a gradient, from black on the left to white on the right."""
    gradient = Image.linear_gradient("L").rotate(90).resize((width, height))
    return gradient.convert(mode)


def file(image: Image.Image | None = None, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    (image or picture()).save(out, kind)
    return out.getvalue()


def text(data: bytes | None = None) -> str:
    return base64.b64encode(file() if data is None else data).decode()


def opened(answer: dict[str, object]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(str(answer["data"]))))


def requests() -> dict[str, dict[str, object]]:
    """One small request of every task."""
    half = Image.new("L", (64, 64))
    half.paste(255, (0, 0, 32, 64))
    drawing = {"prompt": "a lighthouse at dawn", "steps": 2, "seed": 7}
    return {
        "text2img": {"task": "text2img", **drawing},
        "img2img": {"task": "img2img", **drawing, "image": text()},
        "inpaint": {"task": "inpaint", **drawing, "image": text(), "mask": text(file(half))},
        "text2video": {"task": "text2video", **drawing, "frames": 5, "width": 32, "height": 32},
        "classify": {"task": "classify", "images": [text(), text()]},
    }
