"""What Pulumi's command line is asked, and how its answers are read. See vendor_tools.py for what this proves."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.errors import DeploymentError
from infra.spec import ROOT
from infra.stack import Stack
from infra.targets import Change, Kept, Removal
from tests.infrastructure.plans import spec
from tests.infrastructure.vendor_tools import Tools

URN = "urn:pulumi:wordup-gcp::wordup::wordup:gcp:Data$"
DATABASE = {"urn": f"{URN}gcp:firestore/database:Database::database", "type": "gcp:firestore/database:Database"}
FUNCTION = {"urn": f"{URN}gcp:cloudfunctionsv2/function:Function::function", "type": "x"}
STACK = {"urn": "urn:pulumi:wordup-gcp::wordup::pulumi:pulumi:Stack::wordup-wordup-gcp", "type": "pulumi:pulumi:Stack"}
COMPONENT = {"urn": "urn:pulumi:wordup-gcp::wordup::wordup:gcp:Data::data", "type": "wordup:gcp:Data"}


class Heard:
    """A report that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.details: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def detail(self, text: str) -> None:
        self.details.append(text)

    def note(self, text: str) -> None:
        raise AssertionError(text)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    tools = Tools(tmp_path, monkeypatch)
    tools.answer("pulumi", "^(stack select|config set-all)")
    return tools


def state(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"version": 3, "deployment": {"resources": list(resources)}}


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_without_pulumi_the_error_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DeploymentError, match="`pulumi` is not installed here") as error:
        Stack("gcp", spec("gcp")).outputs()
    assert "https://www.pulumi.com/docs/install/" in error.value.mend


def test_failure_is_told_in_the_tools_own_words(tools: Tools) -> None:
    tools.answer("pulumi", "^stack ls", error="error: PULUMI_ACCESS_TOKEN must be set\n", status=255)

    with pytest.raises(DeploymentError, match=r"(?s)`pulumi stack ls` failed.*PULUMI_ACCESS_TOKEN must be set"):
        Stack("gcp", spec("gcp")).outputs()


def test_stack_is_configured_before_it_is_previewed_and_told_what_may_be_public(tools: Tools, tmp_path: Path) -> None:
    tools.answer("pulumi", "^preview", {"steps": []})
    deployment = spec("gcp", name="other", profile="production", pulumi={"secrets_provider": "gcpkms://key"})
    Stack("gcp", deployment).changes({"package": "build/gcp.zip"})

    select, configure, preview = tools.asked("pulumi")
    assert select[1:4] == ["stack", "select", "other-gcp"]
    assert option(select, "--secrets-provider") == "gcpkms://key"
    assert {"cloud=gcp", "name=other", "profile=production", "package=build/gcp.zip"} <= set(configure)
    assert option(preview, "--policy-pack") == str(ROOT / "infra" / "policies")
    assert "--non-interactive" in preview


def test_preview_tells_changes_and_leaves_out_what_stays_or_only_groups(tools: Tools) -> None:
    steps = [("create", DATABASE), ("same", DATABASE), ("update", FUNCTION), ("create-replacement", FUNCTION)]
    steps += [("replace", FUNCTION), ("delete", DATABASE), ("create", STACK), ("create", COMPONENT)]
    tools.answer("pulumi", "^preview", {"steps": [{"op": op, "urn": resource["urn"]} for op, resource in steps]})

    assert Stack("gcp", spec("gcp")).changes({}) == [
        Change("add", "database", "gcp:firestore/database:Database"),
        Change("change", "function", "gcp:cloudfunctionsv2/function:Function"),
        Change("change", "function", "gcp:cloudfunctionsv2/function:Function"),
        Change("remove", "database", "gcp:firestore/database:Database"),
    ]


def test_up_reports_each_resource_as_it_comes(tools: Tools) -> None:
    lines = [
        "Updating (wordup-gcp):",
        " +  gcp:firestore:Database database created (9s)",
        "    gcp:x y",
        " ~  gcp:run:Function function updated (2s)",
    ]
    tools.answer("pulumi", "^up", "\n".join(lines))
    heard = Heard()
    Stack("gcp", spec("gcp")).up({}, heard)

    assert heard.details == ["gcp:firestore:Database database created (9s)", "gcp:run:Function function updated (2s)"]
    assert tools.asked("up", "--yes", "--skip-preview")


def test_outputs_are_empty_where_there_is_no_stack_of_that_name(tools: Tools) -> None:
    tools.answer("pulumi", "^stack ls", [{"name": "me/wordup/other-gcp"}], times=1)
    tools.answer("pulumi", "^stack ls", [{"name": "me/wordup/wordup-gcp"}])
    tools.answer("pulumi", "^stack output", {"url": "https://x"})

    assert Stack("gcp", spec("gcp")).outputs() == {}
    assert Stack("gcp", spec("gcp")).outputs() == {"url": "https://x"}


def test_destroy_of_dev_removes_everything_and_the_stack(tools: Tools) -> None:
    tools.answer("pulumi", "^stack ls", [{"name": "wordup-gcp"}])
    tools.answer("pulumi", "^stack export", state(STACK, COMPONENT, DATABASE, FUNCTION), times=1)
    tools.answer("pulumi", "^stack export", state())
    tools.answer("pulumi", "^(destroy|stack rm)")
    removal = Stack("gcp", spec("gcp")).destroy({}, Heard(), delete_data=False)

    assert removal == Removal(removed=["database", "function"], kept=[], left=[])
    assert tools.asked("stack", "rm")


def test_destroy_of_production_keeps_what_is_protected_and_what_that_needs(tools: Tools) -> None:
    tools.answer("pulumi", "^stack ls", [{"name": "wordup-gcp"}])
    protected = {**DATABASE, "protect": True}
    tools.answer("pulumi", "^stack export", state(STACK, protected, FUNCTION), times=1)
    tools.answer("pulumi", "^stack export", state(STACK, protected))
    tools.answer("pulumi", "^destroy")
    removal = Stack("gcp", spec("gcp", profile="production")).destroy({}, Heard(), delete_data=False)

    assert removal == Removal(removed=["function"], kept=[Kept("database", "production data")], left=[])
    assert tools.asked("destroy", "--exclude-protected")
    assert not tools.asked("stack", "rm")


def test_destroy_with_the_data_takes_the_protection_off_first(tools: Tools) -> None:
    tools.answer("pulumi", "^stack ls", [{"name": "wordup-gcp"}])
    tools.answer("pulumi", "^stack export", state(STACK, {**DATABASE, "protect": True}), times=1)
    tools.answer("pulumi", "^stack export", state(STACK, DATABASE))
    tools.answer("pulumi", "^(up|destroy)")
    removal = Stack("gcp", spec("gcp", profile="production")).destroy({}, Heard(), delete_data=True)

    verbs = [command[1] for command in tools.asked("pulumi") if command[1] in ("up", "destroy")]
    assert verbs == ["up", "destroy"]
    assert tools.asked("deletable=true")
    assert not tools.asked("destroy", "--exclude-protected")
    assert removal.left == ["database"]


def test_destroy_of_nothing_asks_for_nothing(tools: Tools) -> None:
    tools.answer("pulumi", "^stack ls", [])

    assert Stack("azure", spec("azure")).destroy({}, Heard(), delete_data=True) == Removal(removed=[], kept=[], left=[])


def test_state_is_kept_where_wordup_toml_says(tools: Tools, tmp_path: Path) -> None:
    (tmp_path / "pulumi").write_text(f"#!/bin/sh\necho '[]'; echo \"$PULUMI_BACKEND_URL\" > {tmp_path}/backend\n")
    Stack("gcp", spec("gcp", pulumi={"backend": "gs://states"})).outputs()

    assert (tmp_path / "backend").read_text() == "gs://states\n"


def test_pulumi_yaml_describes_every_value_that_a_stack_gets(tools: Tools) -> None:
    tools.answer("pulumi", "^preview", {"steps": []})
    Stack("gcp", spec("gcp")).changes({"package": "x"})
    [configured] = tools.asked("set-all")
    described = (ROOT / "Pulumi.yaml").read_text().partition("\nconfig:\n")[2]

    given = {word.partition("=")[0] for word in configured if "=" in word}
    assert {key for key in given if f"\n  {key}:\n" not in f"\n{described}"} == set()
    assert json.dumps(sorted(given)) == '["cloud", "deletable", "name", "package", "profile"]'
