"""The endpoint port on every registered adapter, against the inference server itself behind each platform's front."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

import pytest

from tests.inference_server import TOKEN, free_port, front, inference_server, metric
from wordup.bootstrap import ENDPOINTS, adapter
from wordup.endpoints.base import Classify, Endpoint, Generate, Media, Step
from wordup.errors import EndpointBusy, EndpointRefused, EndpointTimeout, InvalidField

PNG = b"\x89PNG"
DRAWING = Generate(task="text2img", prompt="a lighthouse at dawn", steps=3, seed=7)
# Longer than any test waits, shorter than the server's own limit of steps.
ENDLESS = Generate(task="text2img", prompt="a lighthouse at dawn", steps=900, seed=7, width=128, height=128)


async def authorization(token: str) -> str:
    return f"Bearer {token}"


@dataclass
class Case:
    """How to open the adapter: on the server, on an address where nobody listens, and refused by its platform."""

    open: Callable[..., Endpoint]
    unreachable: Callable[[], Endpoint]
    refused: Callable[[], Endpoint]
    server: int


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[int]:
    with inference_server(tmp_path_factory.mktemp("models")) as port:
        yield port


@pytest.fixture(scope="module")
def fronted(server: int) -> Generator[str]:
    with front(server) as url:
        yield url


@pytest.fixture(params=ENDPOINTS)
def case(request: pytest.FixtureRequest, server: int, fronted: str, monkeypatch: pytest.MonkeyPatch) -> Case:
    kind = adapter(ENDPOINTS, request.param, "the endpoint")
    nobody = f"http://127.0.0.1:{free_port()}"
    right, wrong = partial(authorization, TOKEN), partial(authorization, "wrong")
    vertex = "/v1/projects/p/locations/l/endpoints/1"
    for variable, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "x")):
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    openers: dict[str, tuple[Callable[..., Endpoint], Callable[[], Endpoint], Callable[[], Endpoint]]] = {
        "http": (
            partial(kind, f"http://127.0.0.1:{server}/invocations"),
            partial(kind, f"{nobody}/invocations"),
            partial(kind, f"{fronted}/score", wrong),
        ),
        "sagemaker": (
            partial(kind, "pictures", fronted),
            partial(kind, "pictures", nobody),
            partial(kind, "absent", fronted),
        ),
        "vertex": (
            partial(kind, f"{fronted}{vertex}", right),
            partial(kind, f"{nobody}{vertex}", right),
            partial(kind, f"{fronted}{vertex}", wrong),
        ),
        "azure_ml": (
            partial(kind, f"{fronted}/score", TOKEN),
            partial(kind, f"{nobody}/score", TOKEN),
            partial(kind, f"{fronted}/score", authorization=wrong),
        ),
    }
    return Case(*openers[request.param], server)


@pytest.fixture
async def endpoint(case: Case) -> AsyncGenerator[Endpoint]:
    opened = case.open()
    yield opened
    await opened.close()


async def drawn(endpoint: Endpoint, request: Generate) -> list[Step | Media]:
    async with aclosing(endpoint.generate(request)) as steps:
        return [step async for step in steps]


async def picture(endpoint: Endpoint) -> bytes:
    media = (await drawn(endpoint, DRAWING))[-1]
    assert isinstance(media, Media)
    return media.data


async def settled(case: Case) -> None:
    """Returns when the server has nothing to do. Raises TimeoutError."""
    await until(lambda: not metric(case.server, "inference_running") + metric(case.server, "inference_waiting"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(0.05)


async def test_generate_gives_every_step_and_then_the_picture(endpoint: Endpoint) -> None:
    *steps, media = await drawn(endpoint, DRAWING)
    assert steps == [Step(step, 3) for step in (1, 2, 3)]
    assert isinstance(media, Media)
    assert (media.media_type, media.seed, media.width, media.height) == ("image/png", 7, 64, 64)
    assert (media.data[:4], len(media.data)) == (PNG, media.size_bytes)


async def test_every_generating_task_gives_its_file(endpoint: Endpoint) -> None:
    image = await picture(endpoint)
    for request in (
        Generate(task="img2img", prompt="p", steps=2, image=image, format="webp"),
        Generate(task="inpaint", prompt="p", steps=2, image=image, mask=image, strength=1.0),
        Generate(task="text2video", prompt="p", steps=2, frames=5, width=32, height=32),
    ):
        media = (await drawn(endpoint, request))[-1]
        assert isinstance(media, Media)
        assert media.task == request.task
        assert media.media_type == {"img2img": "image/webp", "text2video": "video/mp4"}.get(request.task, "image/png")


async def test_same_seed_gives_the_same_picture(endpoint: Endpoint) -> None:
    assert await picture(endpoint) == await picture(endpoint)


async def test_classify_gives_the_labels_of_each_picture_likeliest_first(endpoint: Endpoint) -> None:
    image = await picture(endpoint)
    found = await endpoint.classify(Classify(images=[image, image]))
    assert [sorted(label.label for label in labels) for labels in found.images] == [["fake", "real"]] * 2
    assert all(labels[0].score >= labels[1].score for labels in found.images)


async def test_wrong_field_is_named(endpoint: Endpoint) -> None:
    with pytest.raises(InvalidField) as raised:
        await drawn(endpoint, Generate(task="text2img", prompt="p", width=63))
    assert raised.value.pointer.endswith("/width")
    with pytest.raises(InvalidField) as raised:
        await endpoint.classify(Classify(images=[b"no picture"]))
    assert raised.value.pointer.endswith("/images/0")


async def test_address_outside_the_allowed_buckets_is_an_invalid_field(endpoint: Endpoint) -> None:
    with pytest.raises(InvalidField):
        await drawn(endpoint, Generate(task="text2img", prompt="p", output_uri="s3://other/a.png"))


async def test_leaving_stops_the_work(case: Case, endpoint: Endpoint) -> None:
    before = metric(case.server, "inference_interrupted_total")
    async with aclosing(endpoint.generate(ENDLESS)) as steps:
        assert isinstance(await anext(steps), Step)
    await settled(case)
    assert metric(case.server, "inference_interrupted_total") == before + 1


async def test_full_queue_is_busy(case: Case, endpoint: Endpoint) -> None:
    async with aclosing(endpoint.generate(ENDLESS)) as running:
        await anext(running)
        waiting = asyncio.create_task(drawn(endpoint, ENDLESS))
        await until(lambda: metric(case.server, "inference_waiting") > 0)
        with pytest.raises(EndpointBusy) as raised:
            await drawn(endpoint, DRAWING)
        assert raised.value.retry_after >= 1
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await settled(case)


async def test_time_out_is_told(case: Case) -> None:
    hasty = case.open(timeout=1.0)
    with pytest.raises(EndpointTimeout):
        await drawn(hasty, ENDLESS)
    await hasty.close()
    await settled(case)


async def test_unreachable_endpoint_is_busy_and_a_refusing_platform_the_operators(case: Case) -> None:
    for opened, error in ((case.unreachable(), EndpointBusy), (case.refused(), EndpointRefused)):
        with pytest.raises(error):
            await drawn(opened, DRAWING)
        with pytest.raises(error):
            await opened.classify(Classify(images=[b"x"]))
        await opened.close()
