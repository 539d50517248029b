"""What the cold starts of all clouds have in common: their packages, their caller, how they take turns."""

import asyncio
import compileall
import importlib.metadata
import py_compile
import resource
import statistics
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import results
from infra import package, spec
from wordup.auth import Credentials, issue_key
from wordup.bootstrap import build
from wordup.config import Settings

QUESTION = "How long can a Lambda function run?"
LOCK = spec.ROOT / "requirements" / "bench.txt"


@dataclass(frozen=True)
class Start:
    """In milliseconds. `cpu` is the process's own, with its children's."""

    answer: float
    cpu: float
    init: float = 0.0


def children_cpu() -> float:
    """Seconds of the processor that went into child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def install(names: Iterable[str], *options: str) -> None:
    """Puts the locked versions of these, and of what they need, where `options` say."""
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in names]
    command = [package.uv(), "pip", "install", "--quiet", "--require-hashes", "--link-mode", "copy"]
    subprocess.run([*command, *options, "--constraints", LOCK, *pinned], stdin=subprocess.DEVNULL, check=True)


def compiled(root: Path) -> Path:
    """The folder, with the bytecode of all its modules, as our package has it."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(root, quiet=1, force=True, invalidation_mode=mode)
    return root


def sign_in(variables: Mapping[str, str]) -> str:
    """A new user's session token, in the database and with the key that the settings name."""

    async def open_session() -> str:
        bot = build(Settings.from_env(variables))
        key = await issue_key(bot.store, "benchmark", "benchmark")
        session = await bot.auth.open_session(Credentials(access_key=key))
        await bot.close()
        return session.token

    return asyncio.run(open_session())


def interleaved(cases: Mapping[str, Callable[[], Start]], repetitions: int) -> dict[str, list[Start]]:
    starts: dict[str, list[Start]] = {name: [] for name in cases}
    for _ in range(repetitions + 1):
        for name, start in cases.items():
            starts[name].append(start())
    return {name: found[1:] for name, found in starts.items()}


def rows(starts: Mapping[str, list[Start]]) -> list[dict[str, results.Cell]]:
    """Ratios are to the first."""
    base = next(iter(starts.values()))
    return [
        {
            "function": name,
            **_init(found),
            "answer_median_ms": round(answer := statistics.median(s.answer for s in found)),
            "answer_min_ms": round(min(s.answer for s in found)),
            "answer_ratio": round(answer / statistics.median(s.answer for s in base), 2),
            "cpu_median_ms": round(cpu := statistics.median(s.cpu for s in found)),
            "cpu_ratio": round(cpu / statistics.median(s.cpu for s in base), 2),
        }
        for name, found in starts.items()
    ]


def _init(found: list[Start]) -> dict[str, results.Cell]:
    if not found[0].init:
        return {}
    median = statistics.median(s.init for s in found)
    return {"init_median_ms": round(median), "init_min_ms": round(min(s.init for s in found))}
