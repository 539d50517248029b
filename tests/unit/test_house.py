"""Rules of the house that no linter knows."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
# The environments of their own, and the one that adds to what is tested; the others hold the very versions of dev.txt.
APART = {"bootstrap", "ministack", "litellm", "model", "bench"}


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [file for name in listed.stdout.splitlines() if (file := ROOT / name).is_file()]
    assert files, f"git lists nothing for {patterns}"
    return files


def attributes(file: Path) -> Iterator[ast.Attribute]:
    return (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute))


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[.+\])?==(\S+)", lock.read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_lock_pins_every_package_with_its_hashes(lock: Path) -> None:
    entries = re.split(r"\n(?=[a-z])", lock.read_text())[1:]

    assert [entry for entry in entries if not re.match(r"\S+==\S+ .*\\\n    --hash=sha256:[0-9a-f]{64}", entry)] == []
    assert len(entries) == len(pins(lock)) > 0


@pytest.mark.parametrize("lock", [*LOCKS, ROOT / "package-lock.json"], ids=lambda lock: lock.stem)
def test_lock_names_no_host_and_no_folder_of_a_machine(lock: Path) -> None:
    assert re.findall(r"\S*://\S*|\bfile:\S+|--\S*index-url\S*|\s/\S+", lock.read_text()) == []


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock.stem not in APART], ids=lambda lock: lock.stem)
def test_what_is_deployed_has_the_versions_that_are_tested(lock: Path) -> None:
    assert pins(lock).items() <= pins(ROOT / "requirements" / "dev.txt").items()


def test_what_is_measured_has_the_versions_that_are_tested() -> None:
    assert pins(ROOT / "requirements" / "dev.txt").items() <= pins(ROOT / "requirements" / "bench.txt").items()


def test_package_lock_holds_a_hash_of_every_package() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]

    assert [name for name, package in packages.items() if name and "integrity" not in package] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_no_module_is_above_400_lines() -> None:
    lengths = {file: len(file.read_text().splitlines()) for file in tracked("functions/*.py", "infra/*.py", "cli/*.py")}

    assert {file.name: length for file, length in lengths.items() if length > 400} == {}


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        file.relative_to(ROOT).as_posix()
        for file in tracked("functions/*.py")
        if any(node.attr in ("environ", "environb", "getenv") for node in attributes(file))
    }

    assert readers == {"functions/wordup/config.py"}


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    ways_out = {"skip", "skipif", "xfail", "importorskip", "skipTest"}
    found = [(file.name, node.attr) for file in tracked("tests/*.py") for node in attributes(file)]

    assert [(name, attribute) for name, attribute in found if attribute in ways_out] == []


def test_nothing_names_a_folder_of_a_machine_or_the_host_of_a_registry() -> None:
    # Azure unpacks every function app in /home/site/wwwroot.
    pattern = re.compile(
        r"(?<![\w.])/(?:work|root|home(?!/site/wwwroot))/\w|files\.pythonhosted|//(?:registry\.npmjs|pypi)\."
    )
    texts = {file: file.read_text(errors="replace") for file in tracked(".")}

    assert {file.name: pattern.findall(text) for file, text in texts.items() if pattern.search(text)} == {}


def test_no_link_is_tracked() -> None:
    listed = subprocess.run(["git", "ls-files", "--stage"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert [line for line in listed.splitlines() if line.startswith("120000")] == []


def test_every_verb_of_make_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    verbs = re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert re.findall(r"^([a-z]+) +\S", told, re.MULTILINE) == verbs
    assert re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split() == verbs  # type: ignore[index]


def test_every_verb_in_the_documents_is_one_of_make() -> None:
    verbs = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    code = [part for file in documents for part in re.findall(r"```.+?```|`[^`]+`", file.read_text(), re.DOTALL)]
    commands = [command for part in code for command in re.findall(r"\bmake ([^`#|&\n]+)", part)]
    named = {word for command in commands for word in command.split() if re.fullmatch("[a-z]+", word)}

    assert named - verbs == set()
    assert {"deploy", "test"} <= named


def test_a_test_that_reaches_for_the_network_fails_though_the_error_is_swallowed(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_network.py").write_text(
        "import contextlib, socket\n"
        "def test_looks_up():\n"
        "    with contextlib.suppress(Exception): socket.getaddrinfo('host.invalid', 80)\n"
        "def test_connects():\n"
        "    with contextlib.suppress(Exception): socket.create_connection(('192.0.2.1', 80), timeout=1)\n"
        "def test_stays_here():\n"
        "    with socket.create_server(('127.0.0.1', 0)) as server: socket.create_connection(server.getsockname())\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", tmp_path]
    told = subprocess.run([*command, tmp_path], cwd=tmp_path, capture_output=True, text=True).stdout

    assert "test_looks_up (call) tried to reach 'host.invalid'" in told
    assert "test_connects (call) tried to reach '192.0.2.1'" in told
    assert "2 failed, 1 passed" in told
