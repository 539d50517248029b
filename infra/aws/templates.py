"""Reads synthesized templates: the plan, and what a deployment would change."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from infra.targets import Change, Resource

Template = dict[str, Any]


def read(folder: Path) -> dict[str, Template]:
    """Every stack of a cloud assembly, by name, in the order they are deployed."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    stacks = {name: it for name, it in manifest["artifacts"].items() if it["type"] == "aws:cloudformation:stack"}
    found: dict[str, Template] = {}
    while len(found) < len(stacks):
        for name, stack in stacks.items():
            if name not in found and all(need in found for need in stack.get("dependencies", []) if need in stacks):
                found[name] = json.loads((folder / stack["properties"]["templateFile"]).read_text("utf-8"))
    return found


def resources(templates: Mapping[str, Template]) -> list[Resource]:
    """A name is `<stack>/<logical id>`; what only AWS knows stays as CloudFormation's own functions in the inputs."""
    return [
        Resource(
            name=f"{stack}/{logical_id}",
            type=resource["Type"],
            inputs=resource.get("Properties", {}),
            depends_on=[f"{stack}/{other}" for other in sorted(_needs(resource, template["Resources"]))],
        )
        for stack, template in templates.items()
        for logical_id, resource in template["Resources"].items()
    ]


def changes(stack: str, new: Template, deployed: Template) -> list[Change]:
    """From the deployed template (empty where there is none) to the new one."""
    before, after = deployed.get("Resources", {}), new["Resources"]
    found = [Change("add", f"{stack}/{name}", after[name]["Type"]) for name in after if name not in before]
    found += [
        Change("change", f"{stack}/{name}", after[name]["Type"])
        for name in after
        if name in before and _essence(after[name]) != _essence(before[name])
    ]
    return found + [Change("remove", f"{stack}/{name}", before[name]["Type"]) for name in before if name not in after]


def _essence(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in resource.items() if key != "Metadata"}


def _needs(resource: Any, known: Mapping[str, Any]) -> set[str]:
    """The logical ids that a resource names: by Ref, Fn::GetAtt, Fn::Sub or DependsOn."""
    depends_on = resource.get("DependsOn", [])
    named = {depends_on} if isinstance(depends_on, str) else set(depends_on)
    return {name for name in named | set(_references(resource.get("Properties", {}))) if name in known}


def _references(value: Any) -> Iterator[str]:
    match value:
        case {"Ref": str(name)}:
            yield name
        case {"Fn::GetAtt": [str(name), *_]}:
            yield name
        case {"Fn::Sub": str(text)}:
            yield from (part.partition("}")[0].partition(".")[0] for part in text.split("${")[1:])
        case dict():
            yield from _references([*cast(Template, value).values()])
        case list():
            for each in cast(list[Any], value):
                yield from _references(each)
        case _:
            pass
