"""Builds what a cloud receives: functions/, the index of knowledge/ and the locked dependencies, without Docker.

A package is named by the hash of everything that goes into it, so an unchanged one is not built again, and two builds
of the same inputs are equal to the byte. Modules are compiled (a function starts in 510 ms instead of 855) with
hashes that nobody checks, because the file times that Python compares otherwise are not those of the build.
"""

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from infra.errors import DeploymentError
from infra.spec import ROOT, Cloud
from wordup import index, vectors

Architecture = Literal["arm64", "x86_64"]

BUILD = ROOT / "build"
PYTHON = (3, 13)
# AWS Lambda's python3.13 is Amazon Linux 2023, glibc 2.34.
PLATFORMS = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}
# The service models, of botocore's 25 MB, that our adapters open, beside the files that every client opens.
BOTOCORE_MODELS = frozenset({"dynamodb", "secretsmanager"})
EPOCH = (1980, 1, 1, 0, 0, 0)


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """`entry_points` are the files of functions/ that are this cloud's own; `root` is where it unpacks the package.

    `packages` is the folder in it of the installed dependencies, None where the cloud installs them from the lock.
    """

    lock: Path
    entry_points: tuple[str, ...]
    root: str
    packages: str | None


RECIPES: dict[Cloud, Recipe] = {
    "aws": Recipe(
        lock=ROOT / "requirements" / "aws.txt",
        entry_points=("lambda_function.py", "bootstrap"),
        root="/var/task",
        packages=".",
    ),
    "gcp": Recipe(lock=ROOT / "requirements" / "gcp.txt", entry_points=("main.py",), root="/workspace", packages=None),
    "azure": Recipe(
        lock=ROOT / "requirements" / "azure.txt",
        entry_points=("function_app.py", "host.json"),
        root="/home/site/wwwroot",
        packages=".python_packages/lib/site-packages",
    ),
}


def machine() -> Architecture:
    """This machine's own, by Lambda's name."""
    return "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"


def build(cloud: Cloud, arch: Architecture, out: Path = BUILD, *, embeddings: str = "") -> Path:
    """The package's zip file in `out`, built unless it is there; with the vectors of the model `embeddings`, where one
    is named. Raises DeploymentError, and ConfigurationError where there are no such vectors of what ships."""
    if sys.version_info[:2] != PYTHON:
        raise DeploymentError(
            f"The package is compiled for Python {PYTHON[0]}.{PYTHON[1]}, and this is {sys.version.split()[0]}.",
            mend="Run `make setup`, then .venv/bin/wordup.",
        )
    recipe = RECIPES[cloud]
    sources = dict(_sources(recipe, embeddings))
    made = {"lock": recipe.lock.read_bytes(), "builder": Path(__file__).read_bytes()}
    package = out / f"{cloud}-{arch}-{_key(arch, made | sources)}.zip"
    if package.exists():
        return package
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        draft, stage = Path(folder, "package.zip"), Path(folder, "stage")
        if recipe.packages is not None:
            dependencies = out / f"dependencies-{cloud}-{arch}-{_key(arch, made)}.zip"
            if not dependencies.exists():
                _build_dependencies(recipe, arch, Path(folder), dependencies)
            shutil.copyfile(dependencies, draft)
        for name, content in sources.items():
            target = stage / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        _compile(stage, recipe.root)
        _add(stage, draft)
        _put(draft, package)
    return package


def _build_dependencies(recipe: Recipe, arch: Architecture, folder: Path, dependencies: Path) -> None:
    """Apart from our own files, which change more often."""
    draft, stage = folder / "dependencies.zip", folder / "dependencies"
    assert recipe.packages is not None
    _install(recipe.lock, arch, stage / recipe.packages)
    _prune(stage / recipe.packages)
    _compile(stage, recipe.root)
    _add(stage, draft)
    _put(draft, dependencies)


def _put(draft: Path, target: Path) -> None:
    """In the place of the one that was made of something else."""
    for older in target.parent.glob(f"{target.stem.rpartition('-')[0]}-*.zip"):
        older.unlink(missing_ok=True)
    draft.rename(target)


def _sources(recipe: Recipe, embeddings: str) -> Iterator[tuple[str, bytes]]:
    """Our own files: the name in the package, and the content. Other clouds' entry points stay out."""
    functions = ROOT / "functions"
    yield from ((name, (functions / name).read_bytes()) for name in recipe.entry_points)
    if recipe.packages is None:
        yield "requirements.txt", recipe.lock.read_bytes()
    knowledge = index.current(ROOT / "knowledge", BUILD)
    yield "knowledge.db", knowledge.read_bytes()
    if embeddings:
        yield vectors.FILE, vectors.of(knowledge, embeddings).read_bytes()
    for folder, prefix in ((functions / "wordup", "wordup"), (functions / "web", "web")):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes()


def _key(arch: Architecture, parts: dict[str, bytes]) -> str:
    digest = hashlib.sha256(f"{arch} {sys.version}".encode())
    for name, content in parts.items():
        digest.update(f"\n{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def uv() -> Path:
    """The pinned uv that `make setup` installs, else the one on the path. Raises DeploymentError."""
    pinned = ROOT / ".tools" / "uv" / "bin" / "uv"
    found = pinned if pinned.exists() else shutil.which("uv")
    if found is None:
        raise DeploymentError("uv, which installs what is packaged, is not here.", mend="Run `make setup`.")
    return Path(found)


def _install(lock: Path, arch: Architecture, target: Path) -> None:
    command = [uv(), "pip", "install", "--quiet", "--require-hashes", "--requirements", lock, "--target", target]
    command += ["--python", sys.executable, "--python-version", f"{PYTHON[0]}.{PYTHON[1]}"]
    command += ["--python-platform", PLATFORMS[arch], "--only-binary", ":all:", "--link-mode", "copy"]
    # Whatever is in uv's cache needs no question to the package index: the lock names files by their hashes.
    for offline in (["--offline"], []):
        done = subprocess.run(
            [*command, *offline], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if not done.returncode:
            return
    raise DeploymentError(
        f"The packages of {lock.name} cannot be installed.\n{done.stderr.strip()}",
        mend="Check the connection to the package index; after a change of pyproject.toml run `make lock`.",
    )


def _prune(packages: Path) -> None:
    """Takes out what no function opens."""
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for record in packages.glob("*.dist-info/RECORD"):
        record.unlink()
    if (data := packages / "botocore" / "data").exists():
        _prune_models(data)


def _prune_models(data: Path) -> None:
    for path in data.iterdir():
        if path.is_dir() and path.name not in BOTOCORE_MODELS:
            shutil.rmtree(path)
    for examples in data.glob("*/*/examples-1.json"):
        examples.unlink()
    # All services' endpoints are 1.2 MB of JSON, which a session reads before its first client: 15 ms and more.
    endpoints = json.loads((data / "endpoints.json").read_bytes())
    for partition in endpoints["partitions"]:
        partition["services"] = {name: partition["services"][name] for name in sorted(BOTOCORE_MODELS)}
    (data / "endpoints.json").write_text(json.dumps(endpoints))


def _compile(stage: Path, root: str) -> None:
    """In a process of its own: what else a process holds in memory decides how strings are shared in a .pyc."""
    command = [sys.executable, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", stage, "-p", root, stage]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)


def _add(stage: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED, compresslevel=6) as package:
        for path in sorted(p for p in stage.rglob("*") if p.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(stage).as_posix(), EPOCH)
            entry.create_system = 3  # Unix, so that the mode counts
            entry.external_attr = (0o755 if path.name == "bootstrap" else 0o644) << 16
            package.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, compresslevel=6)
