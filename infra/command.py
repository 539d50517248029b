"""Runs the operator's own command-line tools: theirs are the login, the versions and the words of an error."""

import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Mapping

from infra.errors import DeploymentError
from infra.spec import ROOT

TAIL_LINES = 30
# Where each is had, by the name that it is called by.
INSTALL = {
    "az": "https://learn.microsoft.com/cli/azure/install-azure-cli",
    "gcloud": "https://cloud.google.com/sdk/docs/install",
    "pulumi": "https://www.pulumi.com/docs/install/",
}


def run(
    command: list[str],
    environment: Mapping[str, str] | None = None,
    *,
    heard: Callable[[str], None] | None = None,
) -> str:
    """What the command printed; `heard` gets it instead, line by line as it comes, its errors too. `environment` is
    the whole one, by default this process's. Raises DeploymentError."""
    path = None if environment is None else environment.get("PATH")
    if shutil.which(command[0], path=path) is None:
        raise DeploymentError(f"`{command[0]}` is not installed here.", mend=f"Install it: {INSTALL[command[0]]}")
    output = ""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        # Apart where the output is a document; else together, so that neither pipe fills while the other is read.
        stderr=subprocess.STDOUT if heard else subprocess.PIPE,
        text=True,
    ) as process:
        if heard:
            assert process.stdout
            for line in process.stdout:
                tail.append(line.rstrip())
                heard(line.rstrip())
        else:
            output, wrong = process.communicate()
            tail.extend([*output.splitlines(), *wrong.splitlines()])
    if process.returncode:
        told = "\n".join(tail)
        raise DeploymentError(f"`{' '.join(command[:3])}` failed.\n{told}", mend="Mend what it names, then try again.")
    return output
