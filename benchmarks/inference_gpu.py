"""Pictures a second of the inference server on a GPU: eager, compiled and batched, beside plain diffusers and a lock.

The pipelines have the sizes of SDXL or FLUX.1 dev and random weights: speed does not ask what a weight is. Servers run
one after the other, each with the GPU to itself; closed-loop callers send requests, none with the prompt or the seed
of another, and wait for the PNG. `gpu_mib` is the device's memory in use after the load, as nvidia-smi tells it; the
other columns are those of `inference`. It needs a Python with inference/requirements.txt (torch for CUDA). Without a
GPU `--model tiny-sdxl` or `tiny-flux` runs the same on the CPU and records nothing.
"""

# It runs where torch is, which the type checker's environment lacks.
# pyright: reportMissingImports=false

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import results
from benchmarks.inference import (
    EIGHT,
    INFERENCE,
    ONE,
    PLAIN,
    PYTHON,
    VERSIONS,
    Command,
    Load,
    Measured,
    measure,
    ours,
    plain,
    tables,
)

MODELS = ("sdxl", "flux", "tiny-sdxl", "tiny-flux")
# nvidia-smi's own words for it.
_USED = ("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits")


def commands(model: Path, sides: list[int]) -> dict[str, Callable[[int], Command]]:
    """How to start each server on a port. Batches may be as large as eight of the largest pictures."""
    made: dict[str, Callable[[int], Command]] = {PLAIN: partial(plain, model, 1)}
    for name, most in ((ONE, 1), (EIGHT, 8)):
        settings = {
            "INFERENCE_MAX_BATCH": str(most),
            "INFERENCE_MAX_BATCH_PIXELS": str(most * max(sides) ** 2),
            "INFERENCE_BUCKETS": ",".join(f"{side}x{side}" for side in sides),
            "INFERENCE_TIMEOUT_SECONDS": "600",
        }
        made[name] = partial(ours, model, 1, settings)
        made[f"{name}, compiled"] = partial(ours, model, 1, {**settings, "INFERENCE_COMPILE": "true"})
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the recorded line instead of tables")
    parser.add_argument("--model", choices=MODELS, nargs="+", default=["sdxl", "flux"])
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024], help="in pixels")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--requests", type=int, default=3, help="requests of each caller in a round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count")
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    device = _device()
    if not device and not all(model.startswith("tiny") for model in arguments.model):
        print("There is no GPU here: nothing is measured.")
        return
    load = Load(arguments.sides, arguments.concurrency, arguments.requests, arguments.rounds, arguments.steps)
    found: dict[str, list[dict[str, results.Cell]]] = {}
    for model in arguments.model:
        with tempfile.TemporaryDirectory() as folder:
            build = [sys.executable, "-m", "tests.random_models", model, folder]
            subprocess.run(build, cwd=INFERENCE, check=True)
            found |= _measured(Path(folder), load, f"{model}, {arguments.steps} steps, {device or 'CPU'}")
    if device:
        results.publish("inference_gpu", found, VERSIONS, as_json=arguments.json)
    else:
        print(json.dumps(found, indent=1))


def _measured(model: Path, load: Load, how: str) -> dict[str, list[dict[str, results.Cell]]]:
    samples: Measured = {}
    memory: dict[str, int] = {}
    on_device: dict[str, int] = {}
    for name, command in commands(model, list(load.sides)).items():
        taken, peak = measure(load, {name: command}, ended=lambda name=name: on_device.update({name: _used_mib()}))
        samples |= taken
        memory |= peak
    made = tables(samples, memory, how)
    return {
        title: [row | {"gpu_mib": on_device[str(row["server"])]} for row in rows] if _device() else rows
        for title, rows in made.items()
    }


def _device() -> str:
    """The GPU's name; "" where torch sees none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def _used_mib() -> int:
    """Of the first GPU; 0 where there is none."""
    if not shutil.which(_USED[0]):
        return 0
    return int(subprocess.run(_USED, capture_output=True, text=True, check=True).stdout.splitlines()[0])


if __name__ == "__main__":
    if not importlib.util.find_spec("torch"):
        raise SystemExit(subprocess.call([PYTHON, "-m", "benchmarks.inference_gpu", *sys.argv[1:]], cwd=results.ROOT))
    main()
