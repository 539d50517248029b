"""Functions as their clouds run them: the packaged archive with only its own requirements, in a process of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import azure_functions_runtime
import httpx2
import msgspec

from benchmarks.rest_api import RestAPI
from benchmarks.runtime_api import Instance
from infra import package
from infra.local.emulator import free_port
from infra.spec import DeploymentSpec, environment
from tests import azure_host
from wordup.keyring import new_ring

# Not the one of .venv: that has everything, and a function only what its archive names.
PYTHON = getattr(sys, "_base_executable", sys.executable)
ISOLATED = [PYTHON, "-S", "-P"]
START_SECONDS = 30


@dataclass
class Process:
    """A running function. `log` is what it wrote to both of its outputs."""

    url: str
    _process: "subprocess.Popen[bytes]"
    _log: Path

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """With its workers, which a server that is killed alone leaves behind."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the function did not start:\n{self.log}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/healthz").status_code == 200
        except httpx2.TransportError:
            return False


@dataclass(frozen=True)
class Function:
    """An unpacked archive. `command` runs it on a port, `path` is where its Python looks for packages."""

    folder: Path
    command: Callable[[int], list[str | Path]]
    path: list[Path]
    variables: dict[str, str] = field(default_factory=dict[str, str])

    @contextmanager
    def running(self, **variables: str) -> Iterator[Process]:
        """Serves already."""
        with self.starting(**variables) as process:
            process.wait()
            yield process

    @contextmanager
    def starting(self, **variables: str) -> Iterator[Process]:
        port = free_port()
        path = os.pathsep.join(map(str, self.path))
        log = self.folder.parent / f"log-{time.monotonic_ns()}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(port),
                cwd=self.folder,
                env={"PATH": os.defpath, "HOME": str(self.folder.parent), "PYTHONPATH": path}
                | self.variables
                | variables
                | {"PORT": str(port)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        running = Process(f"http://127.0.0.1:{port}", process, log)
        try:
            yield running
        finally:
            running.kill()


@dataclass(frozen=True)
class LambdaFunction:
    """An unpacked archive that Lambda runs behind an API Gateway that streams."""

    folder: Path

    @contextmanager
    def running(self, **variables: str) -> Iterator[RestAPI]:
        wrapper = {"AWS_LAMBDA_EXEC_WRAPPER": str(self.folder / "bootstrap")}

        def start(number: int) -> Instance:
            log = self.folder.parent / f"log-{time.monotonic_ns()}-{number}"
            return Instance(Path(PYTHON), self.folder, "", wrapper | variables, log=log)

        with RestAPI(start) as api:
            yield api


def aws_function(folder: Path) -> LambdaFunction:
    return LambdaFunction(unpack("aws", folder))


def gcp_function(folder: Path) -> Function:
    """Under functions-framework, as the buildpack starts it, with what its requirements.txt names."""
    unpacked = unpack("gcp", folder)
    packages = folder / "packages"
    command = [package.uv(), "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"]
    command += ["--requirements", unpacked / "requirements.txt", "--target", packages, "--python", sys.executable]
    subprocess.run(command, check=True, capture_output=True)
    variables = {"FUNCTION_TARGET": "main", "FUNCTION_SOURCE": "main.py", "HOST": "127.0.0.1"}
    return Function(unpacked, lambda _: [*ISOLATED, "-m", "functions_framework"], [packages], variables)


def azure_function(folder: Path) -> Function:
    """Under the real worker library, which is the platform's and not in the archive."""
    unpacked = unpack("azure", folder)
    worker = folder / "worker"
    worker.mkdir()
    library = Path(azure_functions_runtime.__file__).parent
    (worker / library.name).symlink_to(library)
    command = [*ISOLATED, azure_host.__file__, unpacked]
    return Function(
        unpacked, lambda port: [*command, str(port)], [unpacked / ".python_packages/lib/site-packages", worker]
    )


def unpack(cloud: package.Cloud, folder: Path) -> Path:
    unpacked = folder / "function"
    with zipfile.ZipFile(package.build(cloud, package.machine())) as archive:
        archive.extractall(unpacked)
        for entry in archive.infolist():
            (unpacked / entry.filename).chmod(entry.external_attr >> 16)
    return unpacked


def deployed(cloud: package.Cloud, folder: Path) -> dict[str, str]:
    """A deployment's variables, but for the secrets, which a file has in place of the cloud's own store."""
    secret = folder / "secret.json"
    secret.write_bytes(
        msgspec.json.encode({"signing": msgspec.Raw(new_ring().encode()), "provider_key": "sk-of-the-tests"})
    )
    references = {
        "WORDUP_SIGNING_KEY_REF": f"file:{secret}#signing",
        "WORDUP_PROVIDER_KEY_REF": f"file:{secret}#provider_key",
    }
    return {**environment(DeploymentSpec(), cloud), **references}
