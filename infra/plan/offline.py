"""The plan of a deployment without its cloud, its account or Pulumi's command line."""

import subprocess
import sys
from pathlib import Path

import msgspec

from infra.errors import DeploymentError
from infra.plan.graph import Graph
from infra.plan.policies import Declared, violations
from infra.spec import ROOT, DeploymentSpec

PROJECT = "your-project"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"


class _Answer(msgspec.Struct):
    """What the recording process prints; see `infra.plan.record.Answer`."""

    graph: Graph
    problems: list[str]
    refusal: tuple[str, str] | None


def offline_graph(cloud: str, spec: DeploymentSpec, package: Path | None = None, *, deletable: bool = False) -> Graph:
    """What the program would create, its inputs checked against the provider's SDK and judged by the policies.

    `package` is the archive that Google Cloud builds the function from. A project or subscription that wordup.toml
    does not name yet is made up. Raises DeploymentError.
    """
    gcp = msgspec.structs.replace(spec.gcp, project=spec.gcp.project or PROJECT)
    azure = msgspec.structs.replace(spec.azure, subscription=spec.azure.subscription or SUBSCRIPTION)
    spec = msgspec.structs.replace(spec, gcp=gcp, azure=azure)
    graph = _run({"cloud": cloud, "spec": spec, "package": str(package or ""), "deletable": deletable})
    public = spec.gcp.public if cloud == "gcp" else spec.azure.public
    if found := violations(declared(graph), public=public):
        raise DeploymentError(
            "The policies forbid this deployment:\n" + "\n".join(found),
            mend="Mend the program, or say in wordup.toml what is meant.",
        )
    return graph


def declared(graph: Graph) -> list[Declared]:
    """The graph's resources as the policies want them."""
    return [Declared(resource.name, resource.type, resource.inputs) for resource in graph.resources]


def configured_graph(config: dict[str, str]) -> Graph:
    """What the program would create in a stack of that configuration. Raises DeploymentError."""
    return _run({"config": config})


def _run(request: dict[str, object]) -> Graph:
    # In a process of its own: Pulumi keeps its settings in the process, and its SDKs take a second each to import.
    done = subprocess.run(
        [sys.executable, "-m", "infra.plan.record"],
        input=msgspec.json.encode(request),
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode:
        reason = done.stderr.decode().strip()
        raise DeploymentError(
            f"The program of this deployment does not run: {reason.splitlines()[-1] if reason else done.returncode}",
            mend=f"All that it said:\n{reason}",
        )
    answer = msgspec.json.decode(done.stdout, type=_Answer)
    if answer.refusal:
        raise DeploymentError(answer.refusal[0], mend=answer.refusal[1])
    if answer.problems:
        raise DeploymentError(
            "The provider does not know these inputs:\n" + "\n".join(answer.problems),
            mend="Mend them in the program; the SDK's documentation lists the properties.",
        )
    return answer.graph
