"""What a cold start on AWS is made of, and what it would be without what was cut from it."""

import py_compile
import shutil
import statistics
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.runtime_api import FunctionFailed
from benchmarks.starts import Start, children_cpu, interleaved

# The file, what is cut there, and what stood there before.
CUTS = {
    "botocore's data read for each client": (
        "wordup/aws_session.py",
        '    made.register_component("data_loader", _loader())\n',
        "",
    ),
    "Python's own threshold for garbage": ("lambda_function.py", "gc.set_threshold(50_000)\n", ""),
}


def steps(measured: Mapping[str, list[tuple[float, ...]]], python: Path) -> list[dict[str, results.Cell]]:
    """From the processor's seconds of each function when it was ready, after its first answer and after its second."""
    alone = statistics.median(_empty(python) for _ in next(iter(measured.values())))
    medians = {name: [statistics.median(each) for each in zip(*runs, strict=True)] for name, runs in measured.items()}
    found: dict[str, Callable[[list[float]], float]] = {
        "Python itself": lambda _: alone,
        "until it asks for an event": lambda at: at[0] - alone,
        "the first answer, beyond a second one": lambda at: at[1] - at[0] - (at[2] - at[1]),
        "the second answer": lambda at: at[2] - at[1],
    }
    return [
        {"step": step, **{name: round(took(at) * 1000) for name, at in medians.items()}} for step, took in found.items()
    ]


def cuts(function: Any, start: Callable[[Any], Start], folder: Path, repetitions: int) -> list[dict[str, results.Cell]]:
    """The function's cold starts as it ships and with each cut undone, in turns."""
    cases = {"as it ships": function}
    for name, (file, cut, before) in CUTS.items():
        cases[name] = _copy(function, folder / str(len(cases)))
        _replace(cases[name].root / file, cut, before)
    cases["no bytecode"] = bare = _copy(function, folder / "bare")
    for cache in [*bare.root.rglob("__pycache__")]:
        shutil.rmtree(cache)
    starts = interleaved({name: partial(start, each) for name, each in cases.items()}, repetitions)
    base = statistics.median(each.cpu for each in starts["as it ships"])
    return [
        {
            "package": name,
            "answer_median_ms": round(statistics.median(each.answer for each in found)),
            "cpu_median_ms": round(cpu := statistics.median(each.cpu for each in found)),
            "cpu_more_ms": round(cpu - base),
        }
        for name, found in starts.items()
    ]


def _copy(function: Any, folder: Path) -> Any:
    root = Path(shutil.copytree(function.root, folder / function.root.name))
    # Else a start without bytecode would leave it for the next.
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": str(root / "bootstrap"), "PYTHONDONTWRITEBYTECODE": "1"}
    return replace(function, root=root, environment={**function.environment, **variables})


def _replace(file: Path, cut: str, before: str) -> None:
    text = file.read_text()
    if text.count(cut) != 1:
        raise FunctionFailed(f"{file.name} no longer has what was cut: {cut!r}")
    file.write_text(text.replace(cut, before))
    py_compile.compile(str(file), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


def _empty(python: Path) -> float:
    before = children_cpu()
    subprocess.run([python, "-c", "pass"], check=True)
    return children_cpu() - before
