"""The environment of the inference server: `python3 inference/toolchain.py setup`, and `lock` for its lock files.

Standard library only; any Python 3.11 bootstraps it. The tests' torch is the CPU build, whose files are not on PyPI:
pip must know an index that has them (PIP_EXTRA_INDEX_URL, as PyTorch's "Start locally" page says).
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE / ".venv"
TEST_LOCK = HERE / "requirements-test.txt"
IMAGE_LOCK = HERE / "requirements.txt"
# What only a CUDA build of torch needs.
CUDA = ("cuda-bindings", "cuda-pathfinder", "cuda-toolkit", "triton")


def setup() -> None:
    """Makes .venv from the lock, or does nothing when it was made from this very lock."""
    stamp = ENVIRONMENT / "made-from"
    wanted = hashlib.sha256(TEST_LOCK.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    _run(_python(), "-m", "venv", "--clear", str(ENVIRONMENT))
    pip = (str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*pip, "--no-deps", "--require-hashes", "-r", str(TEST_LOCK))
    stamp.write_text(wanted)


def lock(torch_wheel: Path) -> None:
    """Resolves both locks anew with uv. `torch_wheel` is the CPU build's file, for its hash."""
    compile_lock = (
        *("uv", "pip", "compile", "--quiet", "pyproject.toml", "--python-version", "3.11"),
        *("--python-platform", "x86_64-manylinux_2_28", "--generate-hashes", "--no-emit-index-url", "--no-annotate"),
        *("--custom-compile-command", "python3 inference/toolchain.py lock"),
    )
    _run(*compile_lock, "--extra", "gpu", "--output-file", IMAGE_LOCK.name)
    left_out = [name for name in _names(IMAGE_LOCK) if name.startswith("nvidia-") or name in (*CUDA, "torch")]
    skipped = [word for name in left_out for word in ("--no-emit-package", name)]
    _run(*compile_lock, "--extra", "cpu", "--extra", "test", *skipped, "--output-file", TEST_LOCK.name)
    pinned = next(line.split()[0] for line in IMAGE_LOCK.read_text().splitlines() if line.startswith("torch=="))
    digest = hashlib.sha256(torch_wheel.read_bytes()).hexdigest()
    with TEST_LOCK.open("a") as file:
        file.write(f"# The CPU build.\n{pinned} \\\n    --hash=sha256:{digest}\n")


def _names(path: Path) -> list[str]:
    return [line.partition("==")[0] for line in path.read_text().splitlines() if "==" in line and line[0].isalpha()]


def _python() -> str:
    """A Python 3.11 that runs: $PYTHON, this one, the one on PATH, or pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [os.environ.get("PYTHON"), sys.executable, shutil.which("python3.11")]
    candidates += [str(path) for path in sorted(pyenv.glob("3.11*/bin/python"))]
    for candidate in filter(None, candidates):
        asked = subprocess.run(
            [candidate, "-c", "import sys; print(sys.version_info[:2] == (3, 11))"], capture_output=True, text=True
        )
        if asked.stdout.strip() == "True":
            return candidate
    raise SystemExit("There is no Python 3.11 here: install it, or name one in $PYTHON.")


def _run(*command: str) -> None:
    subprocess.run(command, cwd=HERE, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("setup", help="make inference/.venv")
    locking = verbs.add_parser("lock", help="resolve the lock files anew; needs uv")
    locking.add_argument("torch_wheel", type=Path, help="the file of torch's CPU build")
    arguments = parser.parse_args()
    if arguments.verb == "setup":
        setup()
    else:
        lock(arguments.torch_wheel.resolve())


if __name__ == "__main__":
    main()
