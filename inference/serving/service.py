"""The server's life: loading, ready, serving, gone; and the way of one body through it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import torch

from serving import pipelines
from serving.batching import Batcher
from serving.config import Settings
from serving.envelopes import Ask
from serving.errors import ConfigurationError, ModelRefused, NotReady, QueueFull, ServerError
from serving.intake import Intake
from serving.loading import fetch
from serving.memory import MemoryBudget, device_bytes
from serving.metrics import Metrics
from serving.objects import Objects
from serving.outputs import Answer, Outputs
from serving.pipelines.base import Job, Output, Pipeline, Runtime
from serving.provenance import ContentCredentials
from serving.requests import task
from serving.safety import SafetyChecker

log = logging.getLogger(__name__)
# Threads that decode and encode files beside the model's own.
_CODEC_THREADS = 2
T = TypeVar("T")


class Running:
    """The jobs of one body: queued when made, given up when left."""

    def __init__(self, jobs: Sequence[Job], futures: Sequence[asyncio.Future[Output]]) -> None:
        self.jobs, self.futures = jobs, futures


class Service:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self._pipelines: dict[str, Pipeline] = {}
        self._codecs = ThreadPoolExecutor(_CODEC_THREADS, thread_name_prefix="codec")
        self._batcher: Batcher | None = None
        self._admitted = 0

    @property
    def ready(self) -> bool:
        return self._batcher is not None and self._batcher.alive

    @property
    def alive(self) -> bool:
        """False once the model's worker has broken: the platform should replace the process."""
        return self._batcher is None or self._batcher.alive

    @property
    def idle(self) -> bool:
        return self._admitted == 0 and (self._batcher is None or self._batcher.idle)

    async def load(self) -> None:
        """Fetches, checks, loads and warms up the models. Raises ModelRefused, ConfigurationError."""
        memory = await self._in_codec(self._load)
        self._batcher = Batcher(self._pipelines, self.settings, memory, self.metrics)
        self.metrics.weights.set(memory.weights)
        self.metrics.ready.set(1)
        log.info("ready: %s", ", ".join(sorted(self._pipelines)))

    async def close(self) -> None:
        if self._batcher:
            await self._batcher.close()
        self._codecs.shutdown(wait=True)

    def admit(self) -> None:
        """Takes a place before the body is read. Raises QueueFull, NotReady. `leave` gives the place back."""
        if not self._batcher or not self._batcher.alive:
            raise NotReady()
        if self._admitted >= self.settings.max_queue + self.settings.max_batch:
            raise QueueFull(retry_after=self._batcher.expected_seconds())
        self._admitted += 1

    def leave(self) -> None:
        self._admitted -= 1

    @asynccontextmanager
    async def start(self, ask: Ask) -> AsyncGenerator[Running]:
        """Makes the jobs ready and queues them; on the way out nothing of them is left. Raises RequestError."""
        if not self._batcher:
            raise NotReady()
        jobs = await self._in_codec(lambda: [self._intake.job(request, pointer) for request, pointer in ask.requests])
        futures = self._batcher.submit(jobs)
        try:
            yield Running(jobs, futures)
        finally:
            for job in jobs:
                self._batcher.cancel(job)

    async def finish(self, ask: Ask, running: Running) -> list[Answer]:
        """Waits for the model and makes the answers. Raises RequestError, ServerError."""
        outputs = await asyncio.gather(*running.futures)
        return await self._in_codec(lambda: self._answers(ask, running.jobs, outputs))

    def _answers(self, ask: Ask, jobs: Sequence[Job], outputs: Sequence[Output]) -> list[Answer]:
        return [
            self._outputs.answer(job, output, self._pipelines[task(job.request)].name, pointer)
            for (_, pointer), job, output in zip(ask.requests, jobs, outputs, strict=True)
        ]

    def _load(self) -> MemoryBudget:
        settings = self.settings
        runtime = make_runtime(settings)
        cache = Path(settings.model_cache)
        memory = MemoryBudget(settings.memory_bytes or device_bytes(runtime.device))
        objects = Objects(settings.input_uris, settings.output_uris, settings.object_bytes)
        credentials, checker = None, None
        if settings.c2pa_certificate:
            credentials = ContentCredentials(Path(settings.c2pa_certificate), Path(settings.c2pa_key))
        if settings.safety_model:
            folder = fetch(settings.safety_model, cache)
            checker = SafetyChecker(folder, settings.safety_label, settings.safety_threshold, runtime, memory)
        for source in settings.models:
            pipeline = pipelines.load(fetch(source, cache), settings, runtime, memory, self.metrics)
            for name in pipeline.tasks:
                if name in self._pipelines:
                    raise ConfigurationError("INFERENCE_MODEL", f"Two models do {name}.")
                self._pipelines[name] = pipeline
            try:
                pipeline.warm_up()
            except ServerError as error:
                raise ModelRefused(f"{pipeline.name} fails at its first request: {error.sentence}") from error
        self._intake = Intake(self._pipelines, settings, objects, memory, checker)
        self._outputs = Outputs(settings, objects, checker, credentials)
        return memory

    async def _in_codec(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._codecs, work)


def make_runtime(settings: Settings) -> Runtime:
    """Picks the device, and sets torch's process-wide switches. Raises ConfigurationError without the asked-for GPU."""
    cuda = torch.cuda.is_available()
    if settings.device == "cuda" and not cuda:
        raise ConfigurationError("INFERENCE_DEVICE", "There is no CUDA device.", mend="Use auto or cpu.")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(settings.deterministic)
    device = torch.device("cuda" if cuda and settings.device != "cpu" else "cpu")
    return Runtime(device, torch.bfloat16 if device.type == "cuda" else torch.float32, settings.threads)
