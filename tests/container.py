"""The container image without a container engine: the Dockerfile's own files, user, environment and command, in Linux
namespaces with a root of their own, as compose.yaml hardens it: read-only, no capabilities, no new privileges.

What it does not prove: that the base image exists, and what its Debian brings.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30
STOP_SECONDS = 20

# $1: the root that was laid out, $2: the interpreter's own folder; then the command, run in that root.
ENTER = """
set -eu
root=$1 interpreter=$2; shift 2
mount --bind "$root" "$root"
for folder in usr etc dev; do mkdir -p "$root/$folder"; mount --rbind "/$folder" "$root/$folder"; done
for link in bin lib lib64; do ln -sfn "usr/$link" "$root/$link"; done
mkdir -p "$root/proc" "$root/tmp" "$root$interpreter"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$interpreter" "$root$interpreter"
mount --bind "$root/data" "$root/data"
mount -o remount,bind,ro "$root"
ip link set lo up
exec chroot "$root" "$@"
"""


@dataclass(frozen=True)
class Image:
    """What the Dockerfile says of the last stage, and its files laid out under `root`."""

    root: Path
    environment: dict[str, str]
    workdir: str
    user: str
    volume: str
    command: list[str]
    health: list[str]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, rest), one for each logical line."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    logical = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in logical) if word]


def is_sent(path: str) -> bool:
    """Whether the builder gets to see a path, by .dockerignore: the last line that matches decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!")
            names = (PurePosixPath(path), *PurePosixPath(path).parents)
            if any(name.full_match(pattern) for name in names):
                sent = line.startswith("!")
    return sent


def lay_out(folder: Path) -> Image:
    stages: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            stages.append([])
        else:
            stages[-1].append((word, rest))
    build, last = stages
    built, root = folder / "build", folder / "root"
    for word, rest in build:
        if word == "COPY":
            source, target = rest.split()
            _copy(source, built / target.lstrip("/"))
    _install(built / "venv", built / "tmp" / "server.txt")
    _index(built, [rest for word, rest in build if word == "RUN"])
    for word, rest in last:
        if word == "COPY":
            _, source, target = rest.split()
            shutil.copytree(built / source.lstrip("/"), root / target.lstrip("/"), symlinks=True)
    said = dict(last)
    image = Image(
        root=root,
        environment=dict(each.split("=", 1) for each in said["ENV"].split()),
        workdir=said["WORKDIR"],
        user=said["USER"],
        volume=said["VOLUME"],
        command=json.loads(said["CMD"]),
        health=json.loads(said["HEALTHCHECK"].partition("CMD ")[2]),
    )
    data = root / image.volume.lstrip("/")
    data.mkdir()
    if os.geteuid() == 0:
        os.chown(data, *map(int, image.user.split(":")))
    return image


def _copy(source: str, target: Path) -> None:
    found = ROOT / source
    for path in [found] if found.is_file() else sorted(path for path in found.rglob("*") if path.is_file()):
        if is_sent(path.relative_to(ROOT).as_posix()):
            place = target if path == found else target / path.relative_to(found)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def _index(built: Path, commands: list[str]) -> None:
    assert any("python -m wordup.index /tmp/knowledge /app/knowledge.db" in command for command in commands)
    command = [sys.executable, "-m", "wordup.index", built / "tmp" / "knowledge", built / "app" / "knowledge.db"]
    subprocess.run(command, env={"PYTHONPATH": str(built / "app")}, check=True)


def _install(folder: Path, lock: Path) -> None:
    """The packages of the lock and no others, from the environment that runs the tests."""
    venv.create(folder, symlinks=True)
    site_packages = next(folder.glob("lib/python*/site-packages"))
    for line in lock.read_text().splitlines():
        if "==" not in line or line.startswith((" ", "#")):
            continue
        wanted = Requirement(line.rstrip(" \\"))
        if wanted.marker and not wanted.marker.evaluate():
            continue
        distribution = importlib.metadata.distribution(wanted.name)
        assert distribution.version in wanted.specifier, f"the lock has {wanted}, here is {distribution.version}"
        for file in distribution.files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                place = site_packages / file
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), place)


class Container:
    """A running one: the command is process 1 of its namespaces, with a network of its own."""

    def __init__(self, image: Image, process: subprocess.Popen[str], log: Path) -> None:
        self._image = image
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """Process 1, as it is called out here."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])

    @property
    def log(self) -> str:
        return self._log.read_text()

    def status(self) -> dict[str, str]:
        """What the kernel says of process 1: Uid, CapEff, NoNewPrivs..."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Runs a command in the container, as an engine runs its health check."""
        inside = ["nsenter", f"--target={self.pid}", "--all", "--root", *_confined(self._image), *command]
        return subprocess.run(inside, capture_output=True, text=True, timeout=START_SECONDS, check=False)

    def is_healthy(self) -> bool:
        return self.run(self._image.health).returncode == 0

    def stop(self) -> int:
        """As `docker stop`; gives the exit status."""
        os.kill(self.pid, 15)
        return self._process.wait(STOP_SECONDS)


@contextmanager
def running(image: Image, log: Path) -> Iterator[Container]:
    """The image's command, once its health check says that it is healthy; ended with the block."""
    namespaces = ["--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child"]
    if os.geteuid() != 0:
        namespaces += ["--user", "--map-root-user"]
    command = ["unshare", *namespaces, "sh", "-c", ENTER, "sh", str(image.root), sys.base_prefix]
    command += [*_confined(image), *image.command]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True)
    container = Container(image, process, log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (process.poll() is None and "answers at" in container.log and container.is_healthy()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the container did not become healthy:\n{container.log}")
            time.sleep(0.1)
        yield container
    finally:
        process.kill()
        process.wait()


def _confined(image: Image) -> list[str]:
    """The beginning of a command: run it as the image's user, in its folder, with its variables and no others."""
    privileges = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    if os.geteuid() == 0:  # else whoever runs the tests is unprivileged already, and has no second user to become
        user, group = image.user.split(":")
        privileges += [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    variables = image.environment | {"PATH": image.environment["PATH"].replace("$PATH", "/usr/bin:/bin")}
    words = [f"{name}={value}" for name, value in variables.items()]
    return [*privileges, "env", "-i", f"--chdir={image.workdir}", *words]
