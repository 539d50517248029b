"""Every family of models through the same port, compiled and not, and the estimates that the server plans with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from serving.config import Settings
from serving.errors import Interrupted, OverMemoryBudget
from serving.memory import MemoryBudget
from serving.metrics import Metrics
from serving.pipelines import load
from serving.pipelines.base import Frames, Job, Pipeline, Runtime
from serving.pipelines.embeddings import EmbeddingCache
from serving.requests import Generation, Img2Img, Inpaint, Text2Img, Text2Video
from tests import tiny
from tests.conftest import picture

RUNTIME = Runtime(torch.device("cpu"), torch.float32, 1)
DRAWINGS = (
    Text2Img(prompt="a", steps=3, guidance_scale=5),
    Text2Img(prompt="a", steps=3, guidance_scale=0),
    Img2Img(prompt="a", steps=3, image="given"),
    Inpaint(prompt="a", steps=3, image="given", mask="given"),
)


def _loaded(folder: Path, settings: Settings) -> Pipeline:
    return load(folder, settings, RUNTIME, MemoryBudget(1 << 34), Metrics())


def _job(request: Generation, seed: int = 1, side: int = 64) -> Job:
    mask = picture(mode="L").point(lambda value: 255 * (value > 127))
    return Job(request, seed=seed, width=side, height=side, images=[picture()], mask=mask)


def _frames(pipeline: Pipeline, jobs: list[Job]) -> list[np.ndarray]:
    outputs = pipeline.run(jobs, lambda step, steps: None)
    return [output.pixels.astype(int) for output in outputs if isinstance(output, Frames)]


@pytest.mark.parametrize("build", [tiny.stable_diffusion, tiny.stable_diffusion_xl, tiny.flux])
def test_every_family_draws_alike_alone_and_together(
    build: Callable[[Path], Path], tmp_path: Path, settings: Callable[..., Settings]
) -> None:
    pipeline = _loaded(build(tmp_path / "model"), settings())
    for request in DRAWINGS:
        jobs = [_job(request, seed) for seed in (1, 2, 3)]
        together = _frames(pipeline, jobs)
        alone = [_frames(pipeline, [job])[0] for job in jobs]
        assert all(one.shape == (1, 64, 64, 3) for one in together)
        assert max(np.abs(one - other).max() for one, other in zip(alone, together, strict=True)) <= 1
        assert not np.array_equal(alone[0], alone[1])


def test_inpainting_keeps_what_the_mask_keeps(image_model: Path, settings: Callable[..., Settings]) -> None:
    pipeline = _loaded(image_model, settings())
    drawn, again = _frames(pipeline, [_job(DRAWINGS[3], 1), _job(DRAWINGS[3], 2)])
    difference = np.abs(drawn - again)[0]
    assert difference[:, :24].mean() < difference[:, 40:].mean()


def test_interrupting_stops_after_the_current_step(image_model: Path, settings: Callable[..., Settings]) -> None:
    done: list[int] = []

    def interrupt(step: int, steps: int) -> None:
        done.append(step)
        if step == 2:
            raise Interrupted()

    with pytest.raises(Interrupted):
        _loaded(image_model, settings()).run([_job(Text2Img(prompt="a", steps=10))], interrupt)
    assert done == [1, 2]


def test_compiled_model_compiles_nothing_after_its_warm_up(
    image_model: Path, video_model: Path, settings: Callable[..., Settings]
) -> None:
    compiled = settings(compile=True, buckets="64x64", max_batch=1)
    for folder, requests in ((image_model, DRAWINGS[:1]), (video_model, (Text2Video(prompt="a", steps=3, frames=5),))):
        pipeline = _loaded(folder, compiled)
        pipeline.warm_up()
        graphs = counters["stats"]["unique_graphs"]
        assert graphs > 0
        for request in requests:
            (drawn,) = _frames(pipeline, [_job(request)])
            (eager,) = _frames(_loaded(folder, settings()), [_job(request)])
            assert np.abs(drawn - eager).max() <= 1
        assert counters["stats"]["unique_graphs"] == graphs


def test_compiled_model_takes_batches_of_powers_of_two(image_model: Path, settings: Callable[..., Settings]) -> None:
    compiled = _loaded(image_model, settings(compile=True, buckets="64x64"))
    assert [compiled.batch_size(available) for available in (1, 2, 3, 4, 7, 8)] == [1, 2, 2, 4, 4, 8]
    assert _loaded(image_model, settings()).batch_size(7) == 7


def test_larger_work_is_estimated_to_need_more_memory(
    image_model: Path, video_model: Path, settings: Callable[..., Settings]
) -> None:
    drawing, video = _loaded(image_model, settings()), _loaded(video_model, settings())
    request = Text2Img(prompt="a")
    assert drawing.activation_bytes(_job(request, side=128)) == 4 * drawing.activation_bytes(_job(request))
    short, long = (Text2Video(prompt="a", frames=frames) for frames in (5, 49))
    assert video.activation_bytes(_job(short)) < video.activation_bytes(_job(long))
    assert video.pixels(_job(long)) == 49 * 64 * 64


def test_budget_counts_copies_beside_the_weights() -> None:
    memory = MemoryBudget(1000)
    memory.hold("model", 400)
    assert [memory.copies(need) for need in (100, 300, 601)] == [6, 2, 0]
    with pytest.raises(OverMemoryBudget):
        memory.check(601)


def test_embeddings_used_longest_ago_go_first() -> None:
    cache = EmbeddingCache(2 * 40, Metrics())
    made: list[str] = []

    def get(prompt: str) -> None:
        cache.get(prompt, lambda: (made.append(prompt), {"prompt_embeds": torch.zeros(10)})[1])

    for prompt in ("one", "two", "one", "three", "one", "two"):
        get(prompt)
    assert made == ["one", "two", "three", "two"]
