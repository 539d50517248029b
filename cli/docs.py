"""Writes the parts of docs/ that the code knows better: `python -m cli.docs`. A test compares them.

A part stands between `<!-- made from the code: NAME -->` and `<!-- end -->`; what is around it is written by hand.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import msgspec

from infra.inference import Inference
from infra.spec import OPERATOR, ROOT, DeploymentSpec
from wordup import documents, errors, problems, services
from wordup.bootstrap import STORES, build
from wordup.config import Settings, variable
from wordup.routes import Route, table

FOLDER = ROOT / "docs"
_PART = re.compile(r"(<!-- made from the code: (?P<name>[a-z. ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    for path in sorted(FOLDER.glob("*.md")):
        path.write_text(rewritten(path.read_text("utf-8")), "utf-8")


def rewritten(document: str) -> str:
    """The document with its parts as the code is now. Raises KeyError for a part that nobody makes."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part['name']]()}\n{part[3]}", document)


def settings() -> str:
    properties = _schema(Settings)["properties"]
    properties["store"]["enum"] = sorted(STORES)  # whoever adds a store tells nobody but the registry
    rows = [(f"`{variable(name)}`", *_described(field)) for name, field in properties.items()]
    return _rows(("variable", "default", "takes", "what it is"), rows)


def routes() -> str:
    rows = [(f"`{route.method} {route.path}`", route.summary) for route in route_table()]
    return _rows(("route", "does"), rows)


def route_table() -> list[Route]:
    """The routes of a bot at home: they are the same in every home."""
    with tempfile.TemporaryDirectory() as folder:
        return table(build(Settings.parse({"data_dir": folder})))


def codes() -> str:
    """One row a code: several errors may share one, as the reasons of a `provider_error` do."""
    found: dict[str, tuple[str, ...]] = {}
    ours = (errors.StoreUnavailable, errors.SecretUnavailable, errors.IssuerUnavailable, errors.OutOfTime)
    for kind in _tree(errors.RequestError, errors.ProviderError, *ours):
        found.setdefault(kind.code, (f"`{kind.code}`", str(problems.status(kind)), kind.sentence, kind.mend))
    found[errors.WordUpError.code] = ("`internal_error`", "500", errors.WordUpError.sentence, errors.WordUpError.mend)
    answered = [row for row in found.values() if row[0] != "`bad_request`"]
    return _rows(("code", "status", "means", "what to do"), sorted(answered, key=lambda row: row[1]))


def knowledge() -> str:
    """How many sources of what ships were read, and how many only seen."""
    offers = [offer for service in services.load(ROOT / "knowledge" / "services") for _, offer in service.offers()]
    limits = [limit for offer in offers for limit in offer.limits]
    read, unread = documents.sources(ROOT / "knowledge")
    counted = [
        ("numbers of the table", *_counted([limit.checked for limit in limits])),
        ("products of the table", *_counted([offer.checked for offer in offers])),
        ("sources of articles", str(len(read)), str(len(unread))),
    ]
    return _rows(("what", "page read", "address only"), counted)


def _counted(dates: list[date | None]) -> tuple[str, str]:
    read = sum(each is not None for each in dates)
    return str(read), str(len(dates) - read)


def deployment() -> str:
    """The keys of wordup.toml, table by table."""
    schema = _schema(DeploymentSpec)
    parts: list[str] = []
    plain = {name: field for name, field in schema["properties"].items() if "description" in field}
    parts.append(_rows(_KEYS, [(f"`{name}`", *_described(field)) for name, field in plain.items()]))
    for name, default in msgspec.structs.asdict(DeploymentSpec()).items():
        if not isinstance(default, msgspec.Struct):
            continue
        properties = _schema(type(default))["properties"]
        chosen = OPERATOR if isinstance(default, Settings) else tuple(properties)
        rows = [(f"`{key}`", *_described(properties[key])) for key in chosen]
        parts.append(f"### `[{name}]`\n\n" + _rows(_KEYS, rows))
    endpoint = _schema(Inference)["properties"]
    rows = [(f"`{key}`", *_described(field)) for key, field in endpoint.items()]
    parts.append("### `[inference.NAME]`\n\n" + _rows(_KEYS, rows))
    return "\n".join(parts)


_KEYS = ("key", "default", "takes", "what it is")
PARTS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "routes": routes,
    "error codes": codes,
    "wordup.toml": deployment,
    "sources": knowledge,
}


def _schema(kind: type) -> dict[str, Any]:
    return msgspec.json.schema(kind)["$defs"][kind.__name__]


def _described(field: dict[str, Any]) -> tuple[str, str, str]:
    """Default, accepted values, description of a field's JSON schema."""
    default = field.get("default", "needed")
    shown = "" if default in ("", {}, []) else f"`{json.dumps(default).strip('"')}`" if "default" in field else default
    return shown, _accepted(field), field["description"]


def _accepted(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"] if value != "")
    least = field.get("minimum", field.get("exclusiveMinimum"))
    if least is not None:
        above = "above " if "exclusiveMinimum" in field else ""
        most = f" to {field['maximum']:,.10g}" if "maximum" in field else " or more"
        return f"{above}{least:,.10g}{most}"
    kinds = {"boolean": "`true`, `false`", "string": "text", "array": "a list of text", "object": "a table of text"}
    return kinds[field["type"]]


def _tree(*kinds: type[errors.WordUpError]) -> Iterator[type[errors.WordUpError]]:
    for kind in kinds:
        yield kind
        yield from _tree(*kind.__subclasses__())


def _rows(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
