"""What a Pulumi program would create: every resource with its inputs and what it needs first."""

from typing import Any

import msgspec

# How a file and a secret stand in the inputs.
FILE_MARK = "$file"
SEALED = "$secret"


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

    def of(self, kind: str) -> list[Resource]:
        """The resources of a type."""
        return [resource for resource in self.resources if resource.type == kind]
