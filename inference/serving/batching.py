"""The queue before the model: bounded, and emptied a batch at a time.

One thread runs the model. While it works, jobs gather; the next batch is the oldest job and every later one that may
run with it, up to the caps on number, pixels and memory. Nobody waits for company longer than the window. A caller
who leaves is taken out of the queue at once; a running batch stops after the current step when all its callers have
left.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from serving.config import Settings
from serving.errors import InferenceError, Interrupted, NotReady, PipelineFailed, QueueFull
from serving.memory import MemoryBudget
from serving.metrics import Metrics
from serving.pipelines.base import Job, Output, Pipeline
from serving.requests import task

log = logging.getLogger(__name__)
# How much the newest batch weighs in the expected duration of the next.
_NEWEST = 0.3


class Batcher:
    """`submit` jobs, await their futures, `cancel` what nobody waits for."""

    def __init__(
        self, pipelines: Mapping[str, Pipeline], settings: Settings, memory: MemoryBudget, metrics: Metrics
    ) -> None:
        self._pipelines = pipelines
        self._settings, self._memory, self._metrics = settings, memory, metrics
        self._waiting: deque[Job] = deque()
        self._running: Sequence[Job] = ()
        self._futures: dict[Job, asyncio.Future[Output]] = {}
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._batch_seconds = 0.0
        self._worker = asyncio.create_task(self._work())

    def submit(self, jobs: Sequence[Job]) -> list[asyncio.Future[Output]]:
        """Queues all the jobs or none. Raises QueueFull."""
        if len(self._waiting) + len(jobs) > self._settings.max_queue:
            raise QueueFull(retry_after=self.expected_seconds())
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in jobs]
        self._futures.update(zip(jobs, futures, strict=True))
        self._waiting.extend(jobs)
        self._count()
        self._arrived.set()
        return futures

    def cancel(self, job: Job) -> None:
        """The caller has left, or no longer wants the result. Harmless when the job is done."""
        future = self._futures.pop(job, None)
        if future is None:
            return
        job.cancelled = True
        future.cancel()
        self._metrics.cancelled.inc()
        if job in self._waiting:
            self._waiting.remove(job)
        self._count()

    def expected_seconds(self) -> int:
        """How long the waiting work will take, in whole seconds, at least 1."""
        batches = 1 + math.ceil(len(self._waiting) / self._settings.max_batch)
        return max(1, math.ceil(batches * self._batch_seconds))

    @property
    def idle(self) -> bool:
        return not self._waiting and not self._running

    @property
    def alive(self) -> bool:
        """False when the worker itself has broken: the process must be replaced."""
        return not self._worker.done()

    async def close(self) -> None:
        """Stops the running batch after its current step and lets go of everything that waits."""
        for job in list(self._futures):
            job.cancelled = True
            self._fail([job], NotReady())
        self._waiting.clear()
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)
        self._thread.shutdown(wait=True)

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            await self._window()
            if self._waiting:
                # No name for the batch here: an idle worker would hold the last one's pictures.
                await self._run(self._take())

    async def _window(self) -> None:
        """Waits while company keeps arriving, at most four windows, and no longer than until a batch is full."""
        for _ in range(4):
            before = len(self._waiting)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.batch_window_ms / 1000):
                    while len(self._waiting) < self._settings.max_batch:
                        self._arrived.clear()
                        await self._arrived.wait()
            if len(self._waiting) in (before, self._settings.max_batch):
                return

    def _take(self) -> list[Job]:
        first = self._waiting[0]
        pipeline = self._pipelines[task(first.request)]
        key, pixels = pipeline.batch_key(first), max(1, pipeline.pixels(first))
        most = min(
            self._settings.max_batch,
            max(1, self._settings.max_batch_pixels // pixels),
            max(1, self._memory.copies(pipeline.activation_bytes(first))),
        )
        alike = [
            job
            for job in self._waiting
            if self._pipelines[task(job.request)] is pipeline and pipeline.batch_key(job) == key
        ][:most]
        batch = alike[: pipeline.batch_size(len(alike))]
        for job in batch:
            self._waiting.remove(job)
        return batch

    async def _run(self, batch: list[Job]) -> None:
        loop, pipeline = asyncio.get_running_loop(), self._pipelines[task(batch[0].request)]

        def on_step(step: int, steps: int) -> None:
            if all(job.cancelled for job in batch):
                raise Interrupted()
            loop.call_soon_threadsafe(self._tell, batch, step, steps)

        self._running = batch
        self._metrics.batch.observe(len(batch))
        self._count()
        began = time.perf_counter()
        try:
            outputs = await loop.run_in_executor(self._thread, pipeline.run, batch, on_step)
        except Interrupted:
            self._metrics.interrupted.inc()
        except InferenceError as error:
            self._fail(batch, error)
        # The model's own faults are of any class; the callers of this batch get one answer and the server lives on.
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
            log.exception("the model failed")
            self._fail(batch, PipelineFailed().with_traceback(error.__traceback__))
        else:
            took = time.perf_counter() - began
            self._batch_seconds += (took - self._batch_seconds) * (_NEWEST if self._batch_seconds else 1)
            for job, output in zip(batch, outputs, strict=True):
                future = self._futures.pop(job, None)
                if future and not future.done():
                    future.set_result(output)
        finally:
            self._running = ()
            self._count()

    def _tell(self, batch: Sequence[Job], step: int, steps: int) -> None:
        self._metrics.steps.inc(len(batch))
        for job in batch:
            if job.listener and not job.cancelled:
                job.listener(step, steps)

    def _fail(self, batch: Sequence[Job], error: InferenceError) -> None:
        for job in batch:
            future = self._futures.pop(job, None)
            if future and not future.done():
                future.set_exception(error)

    def _count(self) -> None:
        self._metrics.waiting.set(len(self._waiting))
        self._metrics.running.set(len(self._running))
