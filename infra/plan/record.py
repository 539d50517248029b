"""Runs a Pulumi program under Pulumi's mocks and prints what it registers: `python -m infra.plan.record < request`.

In a process of its own, since Pulumi's runtime keeps its settings in the process, and a plan wants them fresh.
"""

import asyncio
import runpy
import sys
from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, cast

import msgspec
import pulumi
from google.protobuf import empty_pb2
from pulumi.runtime import mocks, rpc, settings
from pulumi.runtime.stack import run_in_stack

from infra.__main__ import declare
from infra.plan import computed
from infra.plan.graph import FILE_MARK, SEALED, Graph, Resource
from infra.plan.signatures import problems
from infra.spec import DeploymentSpec
from wordup.errors import ConfigurationError

PROJECT = "wordup"
STACK = "pulumi:pulumi:Stack"
PROGRAM = Path(__file__).resolve().parent.parent


class Request(msgspec.Struct, kw_only=True):
    """Either what to declare, or the configuration of a stack, which the program then reads like Pulumi's."""

    cloud: str = ""
    spec: DeploymentSpec | None = None
    package: str = ""
    deletable: bool = False
    config: dict[str, str] = {}


class Answer(msgspec.Struct, kw_only=True):
    """`problems` are inputs that the provider's SDK does not know, or misses. `refusal` is the sentence and the mend of
    a program that does not take its settings; then there is no graph."""

    graph: Graph = Graph(resources=[], outputs={})
    problems: list[str] = []
    refusal: tuple[str, str] | None = None


class _Cloud(mocks.Mocks):
    def new_resource(self, args: Any) -> tuple[str, dict[str, Any]]:
        return computed.resource(args.typ, args.name, args.inputs)

    def call(self, args: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        return computed.CALLS[args.token], []


# Pulumi's mock monitor says nothing of its methods' types.
_MOCK: Any = mocks.MockMonitor


class _Monitor(mocks.MockMonitor):
    """Keeps the raw registrations: only they tell dependencies, protection and which input is secret."""

    def __init__(self) -> None:
        super().__init__(_Cloud())
        self.registered: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - gRPC's name
        response = _MOCK.RegisterResource(self, request)
        if request.type != STACK:
            self.registered[response.urn] = request
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        if STACK in request.urn:
            self.outputs = rpc.deserialize_properties(request.outputs, keep_unknowns=True)
        return _MOCK.RegisterResourceOutputs(self, request)


def record(program: Callable[[], Any], config: dict[str, str]) -> Graph:
    """The graph of a program. Whatever the program raises goes through."""
    monitor = _Monitor()
    features = _MOCK.GetDeploymentInfo(monitor, empty_pb2.Empty()).supportedFeatures
    # Not `set_mocks`: it opens a stack of its own in an event loop of its own, and ours would wait for it for ever.
    settings.configure(
        mocks.MockSettings(
            monitor=monitor,
            monitor_features=set(features),
            engine=mocks.MockEngine(None),
            project=PROJECT,
            stack="offline",
            dry_run=False,
            organization="organization",
            callbacks=None,
        )
    )
    pulumi.runtime.set_all_config({f"{PROJECT}:{key}": value for key, value in config.items()}, [])
    asyncio.run(run_in_stack(program))
    return Graph(resources=_resources(monitor.registered), outputs=plain(monitor.outputs))


def _resources(registered: dict[str, Any]) -> list[Resource]:
    names = {urn: request.name for urn, request in registered.items()}
    if len(set(names.values())) < len(names):
        raise ValueError(f"Two resources have one name, and a plan tells them by it: {sorted(names.values())}")
    resources = {
        request.name: Resource(
            name=request.name,
            type=request.type,
            component=not request.custom,
            parent=names.get(request.parent),
            inputs=plain(rpc.deserialize_properties(request.object, keep_unknowns=True)),
            depends_on=sorted({names[urn] for urn in [*request.dependencies, *_provider(request)]}),
            protect=request.protect,
        )
        for request in registered.values()
    }
    needs = {name: [*r.depends_on, *([r.parent] if r.parent else [])] for name, r in sorted(resources.items())}
    return [resources[name] for name in TopologicalSorter(needs).static_order()]


def _provider(request: Any) -> list[str]:
    """The URN in the reference `<urn>::<id>`; none for components, which name theirs for their children."""
    return [request.provider.rpartition("::")[0]] if request.custom and request.provider else []


def plain(value: Any) -> Any:
    """JSON of a deserialized property. A file is told by its name alone: where it lies is this machine's."""
    if rpc.is_rpc_secret(value):
        return {SEALED: plain(rpc.unwrap_rpc_secret(value))}
    if isinstance(value, pulumi.FileAsset | pulumi.FileArchive):
        return {FILE_MARK: Path(value.path).name}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in sorted(cast(dict[str, Any], value).items())}
    if isinstance(value, list):
        return [plain(item) for item in cast(list[Any], value)]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{type(value).__name__} has no place in a plan")


def main() -> None:
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)

    def program() -> None:
        if request.spec is None:
            runpy.run_path(str(PROGRAM), run_name="__main__")
        else:
            package = Path(request.package) if request.package else None
            declare(request.cloud, request.spec, package, deletable=request.deletable)

    try:
        graph = record(program, request.config)
        answer = Answer(graph=graph, problems=problems(graph.resources))
    except ConfigurationError as error:
        answer = Answer(refusal=(error.sentence, error.mend))
    sys.stdout.buffer.write(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
