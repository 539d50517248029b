"""What a Pulumi program would create: every resource with its inputs and what it needs first."""

from typing import Any

import msgspec

from infra import targets

# How a file and a secret stand in the inputs.
FILE_MARK = "$file"
SEALED = "$secret"
# Begins the type of a component, which groups resources and is nothing in the cloud.
COMPONENT_PREFIX = "wordup:"


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """`inputs` is JSON, by the provider's own names: a secret is `{"$secret": value}`, a file `{"$file": its name}`.

    `depends_on` and `parent` are names of other resources. A component groups others and is nothing in the cloud.
    """

    name: str
    type: str
    component: bool
    parent: str | None
    inputs: dict[str, Any]
    depends_on: list[str]
    protect: bool


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """Sorted so that a resource follows what it depends on. `outputs` are the stack's."""

    resources: list[Resource]
    outputs: dict[str, Any]

    def planned(self) -> list[targets.Resource]:
        """What `wordup plan` shows."""
        return [
            targets.Resource(name=each.name, type=each.type, inputs=each.inputs, depends_on=each.depends_on)
            for each in self.resources
        ]
