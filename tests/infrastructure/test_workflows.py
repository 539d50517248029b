"""The pipeline of a fork: its workflows are valid, pinned, and have no right that they do not need."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
BIN = Path(sys.executable).parent


def read(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text())


def run(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_are_those_that_the_document_describes() -> None:
    told = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "pipeline.md").read_text(), re.MULTILINE)
    assert [path.stem for path in WORKFLOWS] == sorted(told)


def test_workflows_keep_githubs_schema() -> None:
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)


def test_zizmor_finds_nothing_to_attack() -> None:
    run(BIN / "zizmor", "--offline", "--no-config", "--persona", "pedantic", "--min-severity", "low", *WORKFLOWS)


def test_zizmor_finds_what_there_is_to_attack(tmp_path: Path) -> None:
    spoilt = tmp_path / "workflow.yml"
    text = (ROOT / ".github" / "workflows" / "plan.yml").read_text()
    spoilt.write_text(text.replace('--to "$CLOUD"', "--to ${{ github.event.pull_request.title }}"))
    done = subprocess.run([BIN / "zizmor", "--offline", "--no-config", spoilt], capture_output=True, text=True)
    assert done.returncode != 0
    assert "template-injection" in done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_its_commit(path: Path) -> None:
    used = re.findall(r"uses: (.+)", path.read_text())
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[0-9.]+", each)] == []


def test_only_the_deployment_has_a_right_and_behind_its_environment() -> None:
    for path in WORKFLOWS:
        workflow = read(path)
        assert workflow["permissions"] == {}
        for job in workflow["jobs"].values():
            deploys = path.stem == "deploy"
            assert job["permissions"] == {"contents": "read"} | ({"id-token": "write"} if deploys else {})
            assert ("environment" in job) == deploys
        assert "secrets." not in path.read_text()
        assert "pull_request_target" not in path.read_text()


def test_commands_of_the_workflows_are_there() -> None:
    verbs = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join(path.read_text() for path in WORKFLOWS)
    assert set(re.findall(r"run: make ([a-z]+)", text)) <= verbs
    for command in set(re.findall(r"\.venv/bin/wordup (\w+)", text)):
        run(BIN / "wordup", command, "--help")
