"""The files of the page: what is copied from others, and what repeats something of ours."""

import json
import re
from pathlib import Path

from wordup import errors

ROOT = Path(__file__).parents[2]
WEB = ROOT / "functions" / "web"
VENDOR = WEB / "vendor"
OURS = sorted(path for path in WEB.iterdir() if path.suffix in (".js", ".css", ".html"))


def copies() -> list[tuple[Path, str, str, str]]:
    """The rows of vendor/README.md, `*` resolved: the file, its package, version and path in the package."""
    found: list[tuple[Path, str, str, str]] = []
    for line in (VENDOR / "README.md").read_text().partition("|---")[2].splitlines()[1:]:
        name, package, version, licence, path = (cell.strip() for cell in line.strip("|").split("|"))
        assert licence
        for file in sorted(VENDOR.glob(name)):
            star = file.name.removesuffix(".min.js") if "*" in name else ""
            found.append((file, package, version, path.replace("*", star)))
    return found


def test_copied_files_are_those_of_the_locked_packages() -> None:
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    for file, package, version, path in copies():
        assert locked[f"node_modules/{package}"]["version"] == version
        original = ROOT / "node_modules" / package / path
        assert file.read_bytes() == original.read_bytes(), f"cp {original} {file}"


def test_every_copied_file_is_recorded() -> None:
    recorded = {file for file, *_ in copies()} | {VENDOR / "README.md"}
    assert {path for path in VENDOR.rglob("*") if path.is_file()} == recorded


def test_page_has_words_for_every_error_code() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.WordUpError)]
    table = (WEB / "errors.js").read_text().partition("WORDS = {")[2].partition("\n};")[0]
    assert set(re.findall(r"^  (\w+): \{ text: \"[A-Z]", table, re.MULTILINE)) == {kind.code for kind in kinds}


def test_page_preloads_exactly_what_it_imports_at_first() -> None:
    index = (WEB / "index.html").read_text()
    seen: set[str] = set()
    left = [WEB / "app.js"]
    while left:
        file = left.pop()
        seen.add(file.relative_to(WEB).as_posix())
        text = file.read_text() if file.parent == WEB else ""
        names = re.findall(r'^import (?:.+ from )?"(.+)";$', text, re.MULTILINE)
        left += [path for name in names if (path := (WEB / name)).relative_to(WEB).as_posix() not in seen]
    assert set(re.findall(r'rel="modulepreload" href="(.+)"', index)) == seen


def test_page_names_no_absolute_address_of_its_own() -> None:
    for file in OURS:
        assert re.findall(r"""(?:href=|src=|from |\()["'`]/[\w.]""", file.read_text()) == [], file.name


def test_no_file_of_the_page_is_above_400_lines() -> None:
    assert {file.name for file in OURS if len(file.read_text().splitlines()) > 400} == set()
