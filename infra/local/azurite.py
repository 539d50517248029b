"""The embedded Table Storage: Azurite's table service, in memory, on 127.0.0.1 only."""

import contextlib
from collections.abc import Generator
from pathlib import Path

from infra.local.emulator import HOST, EmulatorError, free_port, running

ROOT = Path(__file__).parents[2]
NODE = ROOT / ".venv" / "bin" / "node"
MAIN = ROOT / "node_modules" / "azurite" / "dist" / "src" / "table" / "main.js"
# Not a secret: the account that every Azurite has,
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite#well-known-storage-account-and-key
ACCOUNT = "devstoreaccount1"


@contextlib.contextmanager
def started(folder: Path) -> Generator[str]:
    """Gives the account's table URL. Raises EmulatorError."""
    if not MAIN.exists():
        raise EmulatorError("Azurite is not installed: there is no node_modules/azurite. Run: make setup")
    port = free_port()
    options = ["--tableHost", HOST, "--tablePort", str(port)]
    options += ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    with running("Azurite", [NODE, MAIN, *options], folder, port=port):
        yield f"http://{HOST}:{port}/{ACCOUNT}"
