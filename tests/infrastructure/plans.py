"""Offline plans of both Pulumi programs, each run once."""

import functools
import tempfile
from pathlib import Path
from typing import Any

from infra.plan.graph import Graph, Resource
from infra.plan.offline import offline_graph
from infra.spec import DeploymentSpec, parse

SUBSCRIPTION = "11111111-2222-4333-8444-555555555555"


def spec(cloud: str, **settings: Any) -> DeploymentSpec:
    """A deployment that can be planned; `settings` are keys of wordup.toml."""
    needed = {"gcp": {"project": "word-up-demo"}, "azure": {"subscription": SUBSCRIPTION}}[cloud]
    return parse(settings | {cloud: needed | settings.get(cloud, {})})


def plan(cloud: str, profile: str = "dev", *, public: bool = True, deletable: bool = False) -> Graph:
    return _plan(cloud, profile, public, deletable)


@functools.cache
def _plan(cloud: str, profile: str, public: bool, deletable: bool) -> Graph:
    deployment = spec(cloud, profile=profile, tags={"team": "bots"}, **{cloud: {"public": public}})
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "package.zip")
        package.write_bytes(b"the package's content is no part of the plan")
        return offline_graph(cloud, deployment, package, deletable=deletable)


def one(graph: Graph, name: str) -> Resource:
    return next(resource for resource in graph.resources if resource.name == name)


def of(graph: Graph, kind: str) -> list[Resource]:
    return [resource for resource in graph.resources if resource.type == kind]
