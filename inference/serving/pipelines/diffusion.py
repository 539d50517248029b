"""Pictures and videos by diffusers: Stable Diffusion, SDXL and FLUX folders give the three picture tasks, Wan video."""

import inspect
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from diffusers.pipelines.auto_pipeline import AutoPipelineForImage2Image, AutoPipelineForInpainting
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from PIL import Image

from serving.config import Settings
from serving.errors import ModelRefused, OutOfMemory, PipelineFailed
from serving.loading import safetensors_elements
from serving.memory import MemoryBudget
from serving.metrics import Metrics
from serving.pipelines.base import Frames, Job, Output, Runtime, StepCallback
from serving.pipelines.embeddings import EmbeddingCache, Embeddings
from serving.requests import Classify, Generation, Img2Img, Inpaint, Text2Img, Text2Video, task

IMAGE_TASKS = frozenset({"text2img", "img2img", "inpaint"})
VIDEO_TASKS = frozenset({"text2video"})
# The decoder's feature maps at full resolution are the peak: the input, output, normalised copy and residual of a
# convolution, doubled for the allocator's workspace.
_LIVE_MAPS = 8
# Wan's decoder works through time in pieces of this many frames and keeps the finished ones as float32.
_FRAMES_AT_ONCE = 4


class Family(NamedTuple):
    """`embeddings` are what `encode_prompt` returns for one text, by the names under which `__call__` takes them back;
    "" is what `__call__` makes by itself. `denoiser` is the part that runs every step. With `negative` the family
    takes the same for a negative prompt, each name beginning with `negative_`."""

    tasks: frozenset[str]
    embeddings: tuple[str, ...]
    denoiser: str
    negative: bool


FAMILIES = {
    "StableDiffusionPipeline": Family(IMAGE_TASKS, ("prompt_embeds", ""), "unet", True),
    "StableDiffusionXLPipeline": Family(IMAGE_TASKS, ("prompt_embeds", "", "pooled_prompt_embeds", ""), "unet", True),
    "FluxPipeline": Family(IMAGE_TASKS, ("prompt_embeds", "pooled_prompt_embeds", ""), "transformer", False),
    "WanPipeline": Family(VIDEO_TASKS, ("prompt_embeds", ""), "transformer", True),
}


class _Index(msgspec.Struct):
    class_name: str = msgspec.field(name="_class_name")


class DiffusersPipeline:
    """One folder of safetensors. Raises ModelRefused when it is of no known family or does not fit."""

    def __init__(
        self, folder: Path, settings: Settings, runtime: Runtime, memory: MemoryBudget, metrics: Metrics
    ) -> None:
        self.name = folder.name
        self.family = _family(folder)
        self.tasks = self.family.tasks
        self._settings, self._runtime = settings, runtime
        self._embeddings = EmbeddingCache(settings.embedding_cache_bytes, metrics)
        memory.hold(folder.name, safetensors_elements(folder) * runtime.dtype.itemsize)
        try:
            base: Any = DiffusionPipeline.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, dtype=runtime.dtype
            )
        # What diffusers and transformers raise for a folder that is not what its index says.
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise ModelRefused(f"{folder.name} cannot be loaded: {error}") from error
        base.to(runtime.device)
        base.set_progress_bar_config(disable=True)
        self._base = base
        self._by_task: dict[str, Any] = dict.fromkeys(self.tasks, base)
        if self.tasks == IMAGE_TASKS:
            self._by_task["img2img"] = AutoPipelineForImage2Image.from_pipe(base)
            self._by_task["inpaint"] = AutoPipelineForInpainting.from_pipe(base)
            for pipeline in self._by_task.values():
                pipeline.set_progress_bar_config(disable=True)
        denoiser = getattr(base, self.family.denoiser)
        if runtime.device.type == "cuda" and self.family.denoiser == "unet":
            denoiser.to(memory_format=torch.channels_last)
            base.vae.to(memory_format=torch.channels_last)
        if settings.compile:
            denoiser.compile_repeated_blocks(fullgraph=True, dynamic=False)
        self.size_multiple = _size_multiple(base, self.family)

    def batch_key(self, job: Job) -> Hashable:
        request = _generation(job)
        strength = request.strength if isinstance(request, Img2Img) else None
        frames = request.frames if isinstance(request, Text2Video) else 1
        return self.name, task(request), job.width, job.height, frames, request.steps, request.guidance_scale, strength

    def pixels(self, job: Job) -> int:
        request = _generation(job)
        return job.width * job.height * (request.frames if isinstance(request, Text2Video) else 1)

    def activation_bytes(self, job: Job) -> int:
        request, config = _generation(job), self._base.vae.config
        frames = request.frames if isinstance(request, Text2Video) else 1
        channels = config.base_dim if self.tasks == VIDEO_TASKS else config.block_out_channels[0]
        maps = min(frames, _FRAMES_AT_ONCE) * channels * self._runtime.dtype.itemsize * _LIVE_MAPS
        finished = frames * 3 * 4
        return job.width * job.height * (maps + finished)

    def batch_size(self, available: int) -> int:
        """Powers of two when compiled: few shapes, all of them warmed up."""
        return 1 << (available.bit_length() - 1) if self._settings.compile else available

    def run(self, jobs: Sequence[Job], on_step: StepCallback) -> list[Output]:
        requests = [_generation(job) for job in jobs]
        first = requests[0]
        pipeline = self._by_task[task(first)]

        def after_step(_pipeline: Any, step: int, _timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
            on_step(step + 1, pipeline.num_timesteps)
            return values

        arguments: dict[str, Any] = {
            "num_inference_steps": first.steps,
            "guidance_scale": first.guidance_scale,
            # On the CPU, so that a seed gives the same noise on every device.
            "generator": [torch.Generator("cpu").manual_seed(job.seed) for job in jobs],
            "output_type": "np",
            "callback_on_step_end": after_step,
            **_pictures(first, jobs),
        }
        size = {"width": jobs[0].width, "height": jobs[0].height}
        # Stable Diffusion's image-to-image takes the size from its picture and has no arguments for it.
        taken = inspect.signature(pipeline.__call__).parameters
        arguments |= {name: side for name, side in size.items() if name in taken}
        with torch.inference_mode(), _device_errors():
            arguments |= self._encode(requests)
            made = pipeline(**arguments)
        # (jobs, frames, height, width, 3) in 0..1; a picture has no axis for frames.
        frames = made.frames if self.tasks == VIDEO_TASKS else made.images[:, None]
        if not np.isfinite(frames).all():
            raise PipelineFailed("The model gave numbers that are no picture.")
        pixels = (frames * 255).round().clip(0, 255).astype(np.uint8)
        return [Frames(one) for one in pixels]

    def warm_up(self) -> None:
        """Two steps of every task, size and compiled batch that will be served."""
        sizes = self._settings.sizes or ((self._settings.default_side, self._settings.default_side),)
        counts = [1]
        while self._settings.compile and counts[-1] * 2 <= self._settings.max_batch:
            counts.append(counts[-1] * 2)
        for request in _smallest_requests(self.tasks):
            for width, height in sizes:
                blank, mask = Image.new("RGB", (width, height)), Image.new("L", (width, height), 255)
                job = Job(request, width=width, height=height, images=[blank], mask=mask)
                for count in counts:
                    if count == 1 or count * self.pixels(job) <= self._settings.max_batch_pixels:
                        self.run([job] * count, lambda step, steps: None)

    def _encode(self, requests: Sequence[Generation]) -> Embeddings:
        """The prompts' embeddings, stacked. Each is encoded alone, so that it does not depend on its company."""
        encoded = self._stack([request.prompt for request in requests])
        if self.family.negative and requests[0].guidance_scale > 1:
            negative = self._stack([request.negative_prompt for request in requests])
            encoded |= {f"negative_{name}": tensor for name, tensor in negative.items()}
        return encoded

    def _stack(self, texts: Sequence[str]) -> Embeddings:
        encoded = [self._embeddings.get(text, lambda text=text: self._encode_one(text)) for text in texts]
        return {name: torch.cat([one[name] for one in encoded]) for name in encoded[0]}

    def _encode_one(self, text: str) -> Embeddings:
        encode: Callable[..., Sequence[Any]] = self._base.encode_prompt
        unguided = {"do_classifier_free_guidance": False} if self.family.negative else {"prompt_2": None}
        copies = {"num_images_per_prompt": 1} if self.tasks == IMAGE_TASKS else {}
        made = encode(prompt=text, device=self._runtime.device, **unguided, **copies)
        return {name: tensor for name, tensor in zip(self.family.embeddings, made, strict=True) if name}


def _smallest_requests(tasks: frozenset[str]) -> list[Generation]:
    if tasks == VIDEO_TASKS:
        return [Text2Video(prompt="warm-up", steps=2, frames=5)]
    return [
        Text2Img(prompt="warm-up", steps=2),
        Img2Img(prompt="warm-up", steps=2, strength=1.0, image="blank"),
        Inpaint(prompt="warm-up", steps=2, strength=1.0, image="blank", mask="blank"),
    ]


def _pictures(first: Generation, jobs: Sequence[Job]) -> dict[str, Any]:
    """What the task takes beside the prompt: the number of frames, or the pictures to start from."""
    if isinstance(first, Text2Video):
        return {"num_frames": first.frames}
    if not isinstance(first, Img2Img):
        return {}
    given = {"image": [_fit(job.images[0], job) for job in jobs], "strength": first.strength}
    if isinstance(first, Inpaint):
        given["mask_image"] = [_fit(job.mask, job) for job in jobs if job.mask]
    return given


def _fit(image: Image.Image, job: Job) -> Image.Image:
    return image.resize((job.width, job.height), Image.Resampling.LANCZOS)


def _generation(job: Job) -> Generation:
    if isinstance(job.request, Classify):
        raise TypeError("a classification reached a generator")
    return job.request


def _family(folder: Path) -> Family:
    try:
        name = msgspec.json.decode((folder / "model_index.json").read_bytes(), type=_Index).class_name
    except msgspec.DecodeError as error:
        raise ModelRefused(f"model_index.json of {folder.name} cannot be read.") from error
    if name not in FAMILIES:
        raise ModelRefused(f"{name} is no pipeline that this server runs.", mend=f"It runs {', '.join(FAMILIES)}.")
    return FAMILIES[name]


def _size_multiple(base: Any, family: Family) -> int:
    """Latents are a fraction of the picture's side, and transformers read them in patches of 2 x 2. Never below 8,
    which diffusers itself asks for."""
    factor = base.vae_scale_factor_spatial if family.tasks == VIDEO_TASKS else base.vae_scale_factor
    return max(8, int(factor) * (2 if family.denoiser == "transformer" else 1))


@contextmanager
def _device_errors() -> Generator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise OutOfMemory() from error
