"""Functions of Google Cloud and of Azure that start cold: the bot's, and a peer on each that does less.

The bot's are the packaged archives with their own requirements, as tests/functions.py runs them, on that cloud's
database as this machine has it.
"""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from benchmarks.starts import QUESTION, Start, compiled, install, sign_in
from infra.local import azurite, firestore
from tests import azure_host
from tests.emulators import create_azure_table
from tests.functions import ISOLATED, Function, azure_function, deployed, gcp_function
from wordup.stores.azure_tables import AZURITE

PEERS = Path(__file__).parent / "peers"
PROJECT, TABLE = "benchmark", "wordup"
CONNECT_SECONDS = 0.002
ANSWER_SECONDS = 60
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Case:
    """A function, its variables and its caller's token; the peers ask for none."""

    function: Function
    variables: Mapping[str, str]
    token: str = ""

    def start(self) -> Start:
        """One cold start with its first answer. Raises RuntimeError."""
        spawned = time.perf_counter()
        with self.function.starting(**self.variables) as process, httpx2.Client(timeout=ANSWER_SECONDS) as client:
            while (answer := self._ask(client, process.url)) is None:
                if time.perf_counter() - spawned > ANSWER_SECONDS:
                    raise RuntimeError(f"the function does not listen:\n{process.log}")
                time.sleep(CONNECT_SECONDS)
            answered = time.perf_counter() - spawned
            if answer.status_code != 200 or not answer.json()["message"]:
                raise RuntimeError(f"the function answered {answer.status_code} {answer.text}\n{process.log}")
            return Start(answered * 1000, tree_cpu(process.pid) * 1000)

    def _ask(self, client: httpx2.Client, url: str) -> httpx2.Response | None:
        try:
            headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
            return client.post(f"{url}/chat", json={"message": QUESTION}, headers=headers)
        except httpx2.ConnectError:
            return None


def tree_cpu(pid: int) -> float:
    """Seconds of the processor that a living process and its children have had, on Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(int, fields[11:15])) / TICKS + sum(tree_cpu(int(child)) for child in children)


@contextmanager
def gcp(folder: Path, model_url: str) -> Generator[dict[str, Callable[[], Start]]]:
    folder.mkdir()
    ours = gcp_function(folder)
    bare = folder / "bare_firestore"
    install(["functions-framework", "google-cloud-firestore"], "--python", sys.executable, "--target", str(bare))
    shutil.copytree(PEERS / "bare_firestore", bare, dirs_exist_ok=True)
    peer = Function(compiled(bare), ours.command, [bare], ours.variables)
    compiled(folder / "packages")
    with firestore.node_started(folder) as address:
        reached = {"FIRESTORE_EMULATOR_HOST": address}
        variables = deployed("gcp", folder) | reached | {"WORDUP_STORE_ENDPOINT": PROJECT, "WORDUP_TABLE": TABLE}
        os.environ |= reached  # for the caller's signing in
        yield {
            "functions-framework and Firestore alone": Case(
                peer, reached | {"PROJECT": PROJECT, "DATABASE": TABLE}
            ).start,
            **ours_on(ours, variables, model_url),
        }


@contextmanager
def azure(folder: Path, model_url: str) -> Generator[dict[str, Callable[[], Start]]]:
    folder.mkdir()
    ours = azure_function(folder)
    bare = folder / "bare_tables"
    # The streams of the worker, and what tests/azure_host.py needs, which the bot's package has anyway.
    names = ["azure-functions", "azure-data-tables", "azurefunctions-extensions-http-fastapi", "aiohttp"]
    install(names, "--python", sys.executable, "--target", str(bare))
    shutil.copytree(PEERS / "bare_tables", bare, dirs_exist_ok=True)
    shutil.copy(ours.folder / "host.json", bare)
    command = [*ISOLATED, azure_host.__file__, compiled(bare)]
    peer = Function(bare, lambda port: [*command, str(port)], [bare, *ours.path[1:]])
    compiled(ours.folder)
    with azurite.started(folder) as endpoint:
        asyncio.run(create_azure_table(endpoint, TABLE))
        variables = deployed("azure", folder) | {"WORDUP_STORE_ENDPOINT": endpoint, "WORDUP_TABLE": TABLE}
        key = AZURITE.named_key
        reached = {"ENDPOINT": endpoint, "TABLE": TABLE, "ACCOUNT": key.name, "KEY": key.key}
        yield {"the worker and Table Storage alone": Case(peer, reached).start, **ours_on(ours, variables, model_url)}


def ours_on(function: Function, variables: Mapping[str, str], model_url: str) -> dict[str, Callable[[], Start]]:
    shared = {**variables, "WORDUP_RATE_LIMIT_PER_MINUTE": "100000"}
    token = sign_in(shared)
    openai = {"WORDUP_PROVIDER": "openai", "OPENAI_BASE_URL": model_url}
    return {
        "Word Up!, offline": Case(function, shared | {"WORDUP_PROVIDER": "offline"}, token).start,
        "Word Up!, openai": Case(function, shared | openai, token).start,
    }
