"""The embedded Firestore, on 127.0.0.1 only: Google's emulator, where it is installed, and the one for Node.

Google's is the reference; it comes with the gcloud command line and needs Java. The one for Node comes from npm.
"""

import contextlib
import shutil
from collections.abc import Generator
from pathlib import Path

from infra.local.emulator import HOST, EmulatorError, free_port, listens, running

ROOT = Path(__file__).parents[2]
NODE = ROOT / ".venv" / "bin" / "node"
SERVER = Path(__file__).with_name("firestore_server.mjs")
PACKAGE = ROOT / "node_modules" / "@firestore-emulator" / "server"
JAR = Path("platform", "cloud-firestore-emulator", "cloud-firestore-emulator.jar")
MAIN_CLASS = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"


def google_jar() -> Path | None:
    """Google's emulator, beside the gcloud command line or where the packages of Linux put it."""
    gcloud = shutil.which("gcloud")
    beside = [Path(gcloud).resolve().parents[1]] if gcloud else []
    roots = [*beside, Path("/usr/lib/google-cloud-sdk"), Path("/usr/lib64/google-cloud-sdk")]
    return next((root / JAR for root in roots if (root / JAR).exists()), None)


@contextlib.contextmanager
def google_started(folder: Path) -> Generator[str]:
    """Gives `host:port`, as FIRESTORE_EMULATOR_HOST wants it. Raises EmulatorError."""
    jar, java = google_jar(), shutil.which("java")
    if jar is None or java is None:
        missing = "Java" if jar else "the package google-cloud-cli-firestore-emulator"
        raise EmulatorError(f"Google's Firestore emulator cannot run without {missing}. Install it.")
    port = free_port()
    command = [java, "-Duser.language=en", "-Xmx512m", "-cp", jar, MAIN_CLASS, "start"]
    with running("Firestore's emulator", [*command, f"--host={HOST}", f"--port={port}"], folder, port=port):
        yield f"{HOST}:{port}"


@contextlib.contextmanager
def node_started(folder: Path) -> Generator[str]:
    """Gives `host:port`, as FIRESTORE_EMULATOR_HOST wants it. Raises EmulatorError."""
    if not PACKAGE.exists():
        raise EmulatorError("The Firestore emulator for Node is not installed: no node_modules. Run: make setup")
    port = free_port()
    with running(
        "The Firestore emulator for Node", [NODE, SERVER, HOST, str(port)], folder, port=port, is_ready=listens
    ):
        yield f"{HOST}:{port}"
