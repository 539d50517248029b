"""`wordup user`, `wordup models` and what every command keeps to."""

import json
from pathlib import Path

import httpx2
import pytest

from tests.home import WORDUP, environment, serving, wordup
from tests.serving import Caller
from tests.terminal import Terminal


def add(folder: Path, *arguments: str) -> str:
    done = wordup(folder, "user", "add", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_new_key_opens_a_running_home(tmp_path: Path):
    with serving(tmp_path) as home:
        key = add(tmp_path, "anna")
        assert Caller(home.url, key).ask("hello").status_code == 200


def test_key_alone_is_on_standard_output(tmp_path: Path):
    done = wordup(tmp_path, "user", "add", "anna")
    assert done.stdout.startswith("wu_")
    assert len(done.stdout.split()) == 1
    assert "shown this once" in done.stderr


def test_key_is_not_in_the_data_folder(tmp_path: Path):
    key = add(tmp_path, "anna")
    assert all(key.encode() not in path.read_bytes() for path in (tmp_path / "data").iterdir())


def test_revoked_key_opens_nothing(tmp_path: Path):
    with serving(tmp_path) as home:
        key = add(tmp_path, "anna")
        assert wordup(tmp_path, "user", "revoke", "anna").stdout == "Revoked 1 of anna's keys.\n"
        refused = httpx2.post(f"{home.url}/v1/sessions", json={}, headers={"x-api-key": key})
    assert refused.status_code == 403


def test_one_key_of_several_is_revoked_by_its_name(tmp_path: Path):
    add(tmp_path, "anna", "--key-name=laptop")
    add(tmp_path, "anna", "--key-name=phone")
    revoked = wordup(tmp_path, "user", "revoke", "anna", "--key-name=phone", "--json")
    listed = json.loads(wordup(tmp_path, "user", "list", "--json").stdout)
    assert json.loads(revoked.stdout) == {"user": "anna", "revoked": 1}
    assert [(key["name"], key["revoked"]) for key in listed] == [("laptop", False), ("phone", True)]


def test_revoking_what_is_not_there_is_a_failure(tmp_path: Path):
    done = wordup(tmp_path, "user", "revoke", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nobody has no key" in done.stderr


def test_list_shows_people_and_never_a_key(tmp_path: Path):
    key = add(tmp_path, "anna", "--key-name=laptop")
    shown = wordup(tmp_path, "user", "list").stdout
    assert "anna" in shown
    assert "laptop" in shown
    assert key not in shown


def test_json_of_a_new_key_is_one_document(tmp_path: Path):
    made = json.loads(add(tmp_path, "anna", "--json"))
    assert made["access_key"].startswith("wu_")
    assert (made["user"], made["name"]) == ("anna", "personal")


def test_settings_of_the_environment_win_over_wordup_toml(tmp_path: Path):
    elsewhere = wordup(tmp_path, "user", "add", "anna", WORDUP_DATA_DIR="elsewhere")
    assert elsewhere.returncode == 0
    assert (tmp_path / "elsewhere" / "wordup.db").exists()


def test_usage_export_and_erasure_of_a_person(tmp_path: Path):
    with serving(tmp_path) as home:
        caller = Caller(home.url, add(tmp_path, "anna"))
        assert caller.ask("What is AWS Lambda?").status_code == 200
        assert "AWS Lambda" in wordup(tmp_path, "user", "export", "anna").stdout
        told = json.loads(wordup(tmp_path, "user", "export", "anna", "--json").stdout)
        assert told["conversations"] == caller.http.get("/v1/me/export").json()["conversations"]
        assert json.loads(wordup(tmp_path, "user", "usage", "anna", "--json").stdout)["today"]["requests"] == 1
        assert json.loads(wordup(tmp_path, "user", "erase", "anna", "--json").stdout) == {
            "user": "anna",
            "erased": True,
        }
        assert caller.ask("Who am I?").status_code == 401
        caller.http.close()
    assert json.loads(wordup(tmp_path, "user", "export", "anna", "--json").stdout)["conversations"] == []
    listed = json.loads(wordup(tmp_path, "user", "list", "--json").stdout)
    assert [key["user"] for key in listed] == ["owner"]


def test_usage_is_shown_as_a_table(tmp_path: Path):
    add(tmp_path, "anna")
    shown = wordup(tmp_path, "user", "usage", "anna").stdout
    assert "this month" in shown
    assert "30 a minute" in shown


@pytest.mark.parametrize("command", ["usage", "export", "erase"])
def test_person_of_whom_nothing_is_stored_is_a_failure(tmp_path: Path, command: str):
    add(tmp_path, "anna")
    done = wordup(tmp_path, "user", command, "ana", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Nothing is stored about ana" in done.stderr


def test_erasure_on_a_terminal_asks_first(tmp_path: Path):
    add(tmp_path, "anna")
    with Terminal([WORDUP, "user", "erase", "anna"], tmp_path, environment(tmp_path)) as terminal:
        terminal.see("for ever?")
        terminal.type("n\n")
        assert terminal.ended() == 1
    assert len(json.loads(wordup(tmp_path, "user", "list", "--json").stdout)) == 1


def test_models_name_price_and_shutdown(tmp_path: Path):
    models = {model["id"]: model for model in json.loads(wordup(tmp_path, "models", "--json").stdout)}
    retired = [model for model in models.values() if model["retired"]]
    assert models["offline:extract"]["input_usd_per_million"] == "0"
    assert retired
    assert all(model["shutdown"] and model["successor"] for model in retired)


def test_model_that_the_operator_priced_is_listed(tmp_path: Path):
    done = wordup(tmp_path, "models", "--json", WORDUP_MODEL_PRICES="openai:mine=1.5/2")
    mine = next(model for model in json.loads(done.stdout) if model["id"] == "openai:mine")
    assert (mine["input_usd_per_million"], mine["output_usd_per_million"]) == ("1.5", "2")


def test_models_are_shown_as_a_table(tmp_path: Path):
    shown = wordup(tmp_path, "models").stdout
    assert "offline:extract" in shown
    assert "https://" in shown


@pytest.mark.parametrize(
    "arguments",
    [["bogus"], ["models", "--bogus"], ["user", "add"], ["user", "list", "--to=nowhere"], ["serve", "--port=70000"]],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(arguments: list[str], tmp_path: Path):
    done = wordup(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: " in done.stderr


def test_wrong_setting_is_explained_by_every_command(tmp_path: Path):
    for arguments in (["serve"], ["models"], ["user", "list"]):
        done = wordup(tmp_path, *arguments, WORDUP_RETENTION_DAYS="soon")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: WORDUP_RETENTION_DAYS: ")
