"""Pictures a second of the inference server beside plain diffusers in a handler with a lock.

Each server is a process of its own on as many threads, and is loaded alone, in turns with the others; closed-loop
callers send requests with distinct prompts and seeds and wait for the PNG. Figures are medians over the rounds. The
model is a Stable Diffusion pipeline with tiny random weights, so the figures show what the servers add, not what a
GPU does: a batch gains until the device is full, here as on a GPU, which is why there are two sizes. Ratios are to
plain diffusers at the same concurrency; that of processor time an image does not depend on who else wants a core.
Memory is the process's peak. It runs in `inference/.venv`.
"""

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
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
SERVERS = (PLAIN, ONE, EIGHT)
CONCURRENCY = (1, 4, 8)
# The tiny model halves a side once, where a real one does so three times: its 64 pixels are the work of 256.
SIDES = (32, 64)


def commands(model: Path, port: int, threads: int) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Each server's command line and environment."""
    serving = [str(PYTHON), "-m", "serving"]
    ours = {
        "INFERENCE_MODEL": str(model),
        "INFERENCE_PORT": str(port),
        "INFERENCE_THREADS": str(threads),
        "INFERENCE_DEFAULT_SIDE": "64",
        "INFERENCE_LOG_LEVEL": "WARNING",
    }
    peer = [str(PYTHON), "-m", "uvicorn", "benchmarks.peers.plain_diffusers:app", "--log-level", "warning"]
    return {
        PLAIN: ([*peer, "--port", str(port)], {"PEER_MODEL": str(model), "PEER_THREADS": str(threads)}),
        ONE: (serving, {**ours, "INFERENCE_MAX_BATCH": "1"}),
        EIGHT: (serving, {**ours, "INFERENCE_MAX_BATCH": "8"}),
    }


@contextmanager
def started(command: list[str], environment: dict[str, str], port: int) -> Iterator[int]:
    """The server's process id, once it is ready."""
    import httpx2

    paths = os.pathsep.join((str(results.ROOT), str(INFERENCE)))
    process = subprocess.Popen(command, env={**os.environ, **environment, "PYTHONPATH": paths}, cwd=INFERENCE)
    try:
        for _ in range(600):
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
    seeds = iter(range(count))

    async def caller(client: httpx2.AsyncClient) -> None:
        for seed in seeds:
            drawing = {"prompt": f"lighthouse {seed}", "seed": seed, "steps": steps, "guidance_scale": 5.0}
            body = {"task": "text2img", **drawing, "width": side, "height": side}
            began = time.perf_counter()
            (await client.post("/invocations", json=body)).raise_for_status()
            taken.append(time.perf_counter() - began)

    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=300, trust_env=False) as client:
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


def measure(model: Path, arguments: argparse.Namespace) -> dict[str, list[dict[str, results.Cell]]]:
    """Round by round, server by server, so that a busy minute of the machine meets all of them."""
    samples: dict[tuple[int, int, str], Samples] = {}
    with ExitStack() as stack:
        servers: dict[str, tuple[int, int]] = {}
        for name in SERVERS:
            port = free_port()
            command, environment = commands(model, port, arguments.threads)[name]
            servers[name] = port, stack.enter_context(started(command, environment, port))
        for round_ in range(arguments.rounds + 1):
            for side, concurrency, (name, (port, pid)) in product(SIDES, CONCURRENCY, servers.items()):
                count, before = arguments.requests * concurrency, cpu_seconds(pid)
                seconds, taken = asyncio.run(load(port, concurrency, count, side, arguments.steps))
                if round_:  # the first is not counted: a model's first runs of a shape are slower
                    sample = samples.setdefault((side, concurrency, name), Samples([], [], []))
                    sample.rates.append(count / seconds)
                    sample.cpu.append((cpu_seconds(pid) - before) / count)
                    sample.taken.extend(taken)
        memory = {name: peak_mib(pid) for name, (_, pid) in servers.items()}
    tables: dict[str, list[dict[str, results.Cell]]] = {}
    for (side, concurrency, name), sample in samples.items():
        plain = samples[side, concurrency, PLAIN]
        title = f"{side} x {side} pixels, {arguments.steps} steps, {arguments.threads} thread"
        tables.setdefault(title, []).append(
            {
                "server": name,
                "concurrency": concurrency,
                "images_per_s": round(median(sample.rates), 1),
                "ratio": round(median(sample.rates) / median(plain.rates), 2),
                "p95_ms": round(sorted(sample.taken)[int(len(sample.taken) * 0.95)] * 1000),
                "cpu_ms_per_image": round(median(sample.cpu) * 1000, 1),
                "cpu_ratio": round(median(plain.cpu) / median(sample.cpu), 2),
                "peak_mib": memory[name],
            }
        )
    return tables


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
    parser.add_argument("--threads", type=int, default=1, help="of the model")
    parser.add_argument("--model", type=Path, help="a Stable Diffusion folder; default: tiny random weights")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model
        if not model:
            made = subprocess.run(
                [PYTHON, "-m", "tests.tiny", folder], cwd=INFERENCE, check=True, capture_output=True, text=True
            )
            model = Path(made.stdout.strip().split(",")[0])
        tables = measure(model, arguments)
    results.publish("inference", tables, VERSIONS, as_json=arguments.json)


if __name__ == "__main__":
    if Path(sys.prefix) != PYTHON.parent.parent:
        raise SystemExit(subprocess.call([PYTHON, "-m", "benchmarks.inference", *sys.argv[1:]], cwd=results.ROOT))
    main()
