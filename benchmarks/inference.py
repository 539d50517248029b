"""Pictures a second of the inference server beside plain diffusers in a handler with a lock.

Each server is a process of its own on as many threads, and is loaded alone, in turns with the others; closed-loop
callers send requests, none with the prompt or the seed of another, and wait for the PNG. Figures are medians over the
rounds. The model is a Stable Diffusion pipeline with tiny random weights, so the figures show what the servers add,
not what a GPU does: a batch gains until the device is full, here as on a GPU, which is why there are two sizes and two
numbers of threads. `ratio` is to plain diffusers, `to_batch_of_1` to this server without batches, both at the same
concurrency; those of processor time an image do not depend on who else wants a core. Memory is the process's peak.
It runs in `inference/.venv`; `benchmarks.inference_gpu` is the same with real sizes on a GPU.
"""

import argparse
import asyncio
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import results

INFERENCE = results.ROOT / "inference"
PYTHON = INFERENCE / ".venv" / "bin" / "python"
VERSIONS = ("diffusers", "starlette", "torch", "transformers", "uvicorn")
PLAIN = "plain diffusers and a lock"
ONE = "this server, batch of 1"
EIGHT = "this server, batch of 8"
BATCHES = ((ONE, "1"), (EIGHT, "8"))
CONCURRENCY = (1, 4, 8)
# The tiny model halves a side once, where a real one does so three times: its 64 pixels are the work of 256.
SIDES = (32, 64)
# No request is another's, in any round.
_numbers = itertools.count()
# A command line, and what it finds in its environment.
Command = tuple[list[str], dict[str, str]]


def plain(model: Path, threads: int, port: int) -> Command:
    peer = [sys.executable, "-m", "uvicorn", "benchmarks.peers.plain_diffusers:app", "--log-level", "warning"]
    return [*peer, "--port", str(port)], {"PEER_MODEL": str(model), "PEER_THREADS": str(threads)}


def ours(model: Path, threads: int, settings: Mapping[str, str], port: int) -> Command:
    told = {
        "INFERENCE_MODEL": str(model),
        "INFERENCE_PORT": str(port),
        "INFERENCE_THREADS": str(threads),
        "INFERENCE_LOG_LEVEL": "WARNING",
        **settings,
    }
    return [sys.executable, "-m", "serving"], told


@contextmanager
def started(command: list[str], environment: dict[str, str], port: int) -> Iterator[int]:
    """The server's process id, once it is ready."""
    import httpx2

    paths = os.pathsep.join((str(results.ROOT), str(INFERENCE)))
    process = subprocess.Popen(command, env={**os.environ, **environment, "PYTHONPATH": paths}, cwd=INFERENCE)
    try:
        for _ in range(6000):
            try:
                if httpx2.get(f"http://127.0.0.1:{port}/ping", trust_env=False).status_code == 200:
                    break
            except httpx2.TransportError:
                pass
            if process.poll() is not None:
                raise SystemExit(f"{command} ended with {process.returncode} before it was ready.")
            time.sleep(0.2)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


async def load(port: int, concurrency: int, count: int, side: int, steps: int) -> tuple[float, list[float]]:
    """Seconds for all of `count` requests, and the seconds of each. Raises httpx2.HTTPStatusError for a refusal."""
    import httpx2

    taken: list[float] = []
    numbers = itertools.islice(_numbers, count)

    async def caller(client: httpx2.AsyncClient) -> None:
        for number in numbers:
            drawing = {"prompt": f"lighthouse {number}", "seed": number, "steps": steps, "guidance_scale": 5.0}
            body = {"task": "text2img", **drawing, "width": side, "height": side}
            began = time.perf_counter()
            (await client.post("/invocations", json=body)).raise_for_status()
            taken.append(time.perf_counter() - began)

    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False) as client:
        began = time.perf_counter()
        await asyncio.gather(*(caller(client) for _ in range(concurrency)))
        return time.perf_counter() - began, taken


def peak_mib(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) // 1024


def cpu_seconds(pid: int) -> float:
    """Processor time of the process until now, all threads (proc(5): utime and stime are fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Samples(NamedTuple):
    """Of one server at one concurrency: images a second and processor seconds an image, each by round; every wait."""

    rates: list[float]
    cpu: list[float]
    taken: list[float]


class Load(NamedTuple):
    """`requests` of each caller in a round, `steps` of each request; the first of the rounds does not count."""

    sides: Sequence[int]
    concurrency: Sequence[int]
    requests: int
    rounds: int
    steps: int


Measured = dict[tuple[int, int, str], Samples]


def measure(
    load_: Load, servers: Mapping[str, Callable[[int], Command]], ended: Callable[[], None] = lambda: None
) -> tuple[Measured, dict[str, int]]:
    """Samples by side, concurrency and server, and each server's memory. A server's command is made for its port;
    `ended` is called after the load, while the servers still run.

    Round by round, server by server, so that a busy minute of the machine meets all of them.
    """
    samples: Measured = {}
    with ExitStack() as stack:
        running: dict[str, tuple[int, int]] = {}
        for name, command in servers.items():
            port = free_port()
            running[name] = port, stack.enter_context(started(*command(port), port))
        for round_ in range(load_.rounds + 1):
            for side, concurrency in itertools.product(load_.sides, load_.concurrency):
                for name, (port, pid) in running.items():
                    count, before = load_.requests * concurrency, cpu_seconds(pid)
                    seconds, taken = asyncio.run(load(port, concurrency, count, side, load_.steps))
                    if round_:  # the first is not counted: a model's first runs of a shape are slower
                        sample = samples.setdefault((side, concurrency, name), Samples([], [], []))
                        sample.rates.append(count / seconds)
                        sample.cpu.append((cpu_seconds(pid) - before) / count)
                        sample.taken.extend(taken)
        ended()
        return samples, {name: peak_mib(pid) for name, (_, pid) in running.items()}


def tables(samples: Measured, memory: Mapping[str, int], how: str) -> dict[str, list[dict[str, results.Cell]]]:
    """One for each side, in the order of concurrency; `how` ends its title."""
    made: dict[str, list[dict[str, results.Cell]]] = {}
    for (side, concurrency, name), sample in samples.items():
        plain_, one = (samples[side, concurrency, other] for other in (PLAIN, ONE))
        made.setdefault(f"{side} x {side} pixels, {how}", []).append(
            {
                "server": name,
                "concurrency": concurrency,
                "images_per_s": round(median(sample.rates), 1),
                "ratio": round(median(sample.rates) / median(plain_.rates), 2),
                "to_batch_of_1": round(median(sample.rates) / median(one.rates), 2),
                "p95_ms": round(sorted(sample.taken)[int(len(sample.taken) * 0.95)] * 1000),
                "cpu_ms_per_image": round(median(sample.cpu) * 1000, 1),
                "cpu_ratio": round(median(plain_.cpu) / median(sample.cpu), 2),
                "cpu_to_batch_of_1": round(median(one.cpu) / median(sample.cpu), 2),
                "peak_mib": memory[name],
            }
        )
    return made


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the recorded line instead of tables")
    parser.add_argument("--requests", type=int, default=6, help="requests of each caller in a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1], help="of the model")
    parser.add_argument("--model", type=Path, help="a Stable Diffusion folder; default: tiny random weights")
    arguments = parser.parse_args()
    found: dict[str, list[dict[str, results.Cell]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model
        if not model:
            made = subprocess.run(
                [PYTHON, "-m", "tests.tiny", folder], cwd=INFERENCE, check=True, capture_output=True, text=True
            )
            model = Path(made.stdout.strip().split(",")[0])
        for threads in arguments.threads:
            batches = {name: {"INFERENCE_DEFAULT_SIDE": "64", "INFERENCE_MAX_BATCH": most} for name, most in BATCHES}
            servers: dict[str, Callable[[int], Command]] = {
                PLAIN: partial(plain, model, threads),
                **{name: partial(ours, model, threads, settings) for name, settings in batches.items()},
            }
            load_ = Load(SIDES, CONCURRENCY, arguments.requests, arguments.rounds, arguments.steps)
            how = f"{arguments.steps} steps, {threads} thread{'s' if threads > 1 else ''}"
            found |= tables(*measure(load_, servers), how)
    results.publish("inference", found, VERSIONS, as_json=arguments.json)


if __name__ == "__main__":
    if Path(sys.prefix) != PYTHON.parent.parent:
        raise SystemExit(subprocess.call([PYTHON, "-m", "benchmarks.inference", *sys.argv[1:]], cwd=results.ROOT))
    main()
