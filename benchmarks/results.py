"""Where every benchmark leaves its figures: a line of benchmarks/results/NAME.jsonl, and docs/benchmarks.md.

A line is a JSON object: `benchmark`, `date` (UTC), `machine` (`cpu`, `cores`, `memory_gib`, `load`: how many processes
wanted a core in the minute before), `python`, `packages` (name to version) and `tables`: a title to its rows, each an
object with the same keys, whose names end in their unit.
"""

import ast
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"

Cell = str | int | float
Tables = Mapping[str, Sequence[Mapping[str, Cell]]]

HEAD = """# Benchmarks

Beside public peers, in the same run on the same machine. `make bench` runs all of them, `make bench BENCH=cold_start`
one. Each appends its figures to `benchmarks/results/` and writes this page anew from the newest ones. Compare figures
only within one run: those of another machine, or of a busier minute, are others.
"""


def record(benchmark: str, tables: Tables, packages: Iterable[str], *, folder: Path = FOLDER) -> dict[str, Any]:
    """Appends the line of a run that ended now; `packages` are the distributions whose versions matter to it."""
    line = {
        "benchmark": benchmark,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in sorted(packages)},
        "tables": tables,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{benchmark}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    return line


def publish(benchmark: str, tables: Tables, packages: Iterable[str], *, as_json: bool) -> None:
    """Records a run, writes the page anew and prints the line, or its tables for a person."""
    line = record(benchmark, tables, packages)
    PAGE.write_text(page())
    print(json.dumps(line) if as_json else "\n".join(_section(line)))


def machine() -> dict[str, Cell]:
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": round(os.getloadavg()[0], 2),
    }


def latest(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """The newest line of each benchmark, by name."""
    return [json.loads(file.read_text().splitlines()[-1]) for file in sorted(folder.glob("*.jsonl"))]


def page(folder: Path = FOLDER) -> str:
    """docs/benchmarks.md: each benchmark's method, which is its module's docstring, and its newest figures."""
    lines = [HEAD]
    for line in latest(folder):
        source = ROOT / "benchmarks" / f"{line['benchmark']}.py"
        method = ast.get_docstring(ast.parse(source.read_text()))
        lines += [f"## {line['benchmark']}", "", method or "", "", *_section(line)]
    return "\n".join(lines)


def _section(line: Mapping[str, Any]) -> Iterator[str]:
    where = line["machine"]
    yield (
        f"{line['date'][:10]}, {where['cores']} cores of {where['cpu']}, {where['memory_gib']} GiB, load"
        f" {where['load']}; Python {line['python']}, "
        + ", ".join(f"{name} {version}" for name, version in line["packages"].items())
        + "."
    )
    yield ""
    for title, rows in line["tables"].items():
        names = list(rows[0])
        yield f"**{title}**"
        yield ""
        yield _row(name.replace("_", " ") for name in names)
        yield _row("---:" if isinstance(rows[0][name], int | float) else "---" for name in names)
        yield from (_row(_text(row[name]) for name in names) for row in rows)
        yield ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else f"{cell:,}"


def _cpu() -> str:
    """Linux tells the model in a file only."""
    information = Path("/proc/cpuinfo")
    named = [line for line in information.read_text().splitlines() if line.startswith("model name")]
    return named[0].partition(":")[2].strip() if named else platform.machine()


if __name__ == "__main__":
    PAGE.write_text(page())
