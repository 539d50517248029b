"""Checks recorded inputs against the provider's schema, as the SDK's generated argument classes carry it.

Neither running a program nor its type checker does: a resource takes dicts where it takes argument classes, and a
misspelt key or a text outside an enumeration reaches the provider. Google Cloud's SDK types its enumerations as text
and tells their values in the description only, so these are read from there.
"""

import collections.abc
import enum
import functools
import importlib
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any

import pulumi
from pulumi import _types as input_types  # pyright: ignore[reportPrivateUsage] - it alone knows the providers' names

from infra.plan.graph import FILE_MARK, SEALED, Resource

_UNIONS = (typing.Union, types.UnionType)
_POSSIBLE = re.compile(r"Possible values are: ((?:`[^`]+`(?:, |, and | and |\.)?)+)")


def problems(resources: list[Resource]) -> list[str]:
    """One sentence for each input that is unknown, missing or of the wrong kind, in the resources' order."""
    found: list[str] = []
    for resource in resources:
        if not resource.component and not resource.type.startswith("pulumi:"):
            found += _object(resource.inputs, _arguments(resource.type), resource.name)
    return found


@functools.cache
def _arguments(kind: str) -> type:
    """`gcp:firestore/field:Field` -> `pulumi_gcp.firestore.FieldArgs`."""
    package, module, name = kind.split(":")
    sdk = importlib.import_module(f"pulumi_{package.replace('-', '_')}.{module.split('/')[0].lower()}")
    return getattr(sdk, f"{name}Args")


class _Property(typing.NamedTuple):
    kinds: list[Any]
    required: bool
    possible: frozenset[str]


@functools.cache
def _properties(cls: type) -> dict[str, _Property]:
    """By the provider's own names, which the recorded inputs have."""
    # `pulumi.Input` names these two. Without a second namespace typing would also remember a name's meaning in another
    # module, and take one SkuArgs for the other.
    ours = {"Output": pulumi.Output, "T": Any}
    hints = typing.get_type_hints(cls.__init__, vars(sys.modules[cls.__module__]), ours)
    parameters = inspect.signature(cls).parameters
    return {
        name: _Property(
            kinds=list(_kinds(hints[python])),
            required=parameters[python].default is inspect.Parameter.empty,
            possible=_possible(inspect.getdoc(getattr(cls, python)) or ""),
        )
        for python, name in input_types.input_type_py_to_pulumi_names(cls).items()
    }


def _possible(description: str) -> frozenset[str]:
    listed = _POSSIBLE.search(description)
    return frozenset(re.findall("`([^`]+)`", listed[1])) if listed else frozenset()


def _kinds(hint: Any) -> Iterator[Any]:
    """What a plain value may be: `Input[X | None]` without its outputs, awaitables and absence."""
    origin = typing.get_origin(hint)
    if origin in _UNIONS:
        for member in typing.get_args(hint):
            yield from _kinds(member)
    elif origin not in (pulumi.Output, collections.abc.Awaitable) and hint is not type(None):
        yield hint


def _object(value: Any, cls: type, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is no object, but {value!r}."
        return
    fields = typing.cast(dict[str, Any], value)
    known = _properties(cls)
    for name in fields.keys() - known.keys():
        yield f"{path}.{name} is no property of {cls.__name__}."
    for name, field in known.items():
        if fields.get(name) is not None:
            yield from _value(fields[name], field, f"{path}.{name}")
        elif field.required:
            yield f"{path}.{name} is missing: {cls.__name__} requires it."


def _value(value: Any, field: _Property, path: str) -> list[str]:
    if isinstance(value, dict) and SEALED in value:
        value = typing.cast(dict[str, Any], value)[SEALED]
    # Azure's SDK takes any text beside the members of an enumeration; the service does not.
    enumerations = [kind for kind in field.kinds if isinstance(kind, enum.EnumType)]
    found = _any_of(value, enumerations or field.kinds, path)
    if field.possible and isinstance(value, str) and value not in field.possible:
        found.append(f"{path} is {value!r}, which is none of {', '.join(sorted(field.possible))}.")
    return found


def _any_of(value: Any, kinds: list[Any], path: str) -> list[str]:
    """Nothing where one kind fits, else the shortest complaint."""
    complaints = [list(_one(value, kind, path)) for kind in kinds]
    return min(complaints, key=len) if complaints else []


def _one(value: Any, kind: Any, path: str) -> Iterator[str]:
    origin = typing.get_origin(kind)
    if origin is collections.abc.Sequence:
        return _sequence(value, kind, path)
    if origin is collections.abc.Mapping:
        return _mapping(value, kind, path)
    if isinstance(kind, type) and input_types.is_input_type(kind):
        return _object(value, kind, path)
    return _scalar(value, kind, path)


def _scalar(value: Any, kind: Any, path: str) -> Iterator[str]:
    if isinstance(kind, enum.EnumType):
        members = [member.value for member in typing.cast(type[enum.Enum], kind)]
        if value not in members:
            yield f"{path} is {value!r}, which is none of {', '.join(map(str, members))}."
    elif kind in (str, bool, int, float):
        # True is an int to Python, but not to a provider.
        if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool) != (kind is bool):
            yield f"{path} is {value!r}, and should be {kind.__name__}."
    elif isinstance(kind, type) and issubclass(kind, pulumi.Asset | pulumi.Archive):
        if not isinstance(value, dict) or FILE_MARK not in value:
            yield f"{path} is {value!r}, and should be a file."
    elif kind is not Any:
        raise TypeError(f"{path}: the SDK has a kind of input that the check does not know: {kind}")


def _sequence(value: Any, kind: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path} is no list, but {value!r}."
        return
    kinds = list(_kinds(typing.get_args(kind)[0]))
    for index, item in enumerate(typing.cast(list[Any], value)):
        yield from _any_of(item, kinds, f"{path}[{index}]")


def _mapping(value: Any, kind: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is no map, but {value!r}."
        return
    kinds = list(_kinds(typing.get_args(kind)[1]))
    for key, item in typing.cast(dict[str, Any], value).items():
        yield from _any_of(item, kinds, f"{path}.{key}")
