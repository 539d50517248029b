import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from compose_spec import PyCompose

from tests import container
from tests.container import Container, Image

ROOT = Path(__file__).resolve().parents[2]
# In the image's own Python: signs in with the first key, asks, and reads everything back.
CONVERSE = """
import json, sys, urllib.request
def call(path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers["content-type"] = "application/json"
    request = urllib.request.Request("http://127.0.0.1:8000" + path, data, headers)
    return json.load(urllib.request.urlopen(request, timeout=20))
bearer = "Bearer " + call("/v1/sessions", {}, x_api_key=sys.argv[1])["token"]
if len(sys.argv) > 2:
    call("/chat", {"message": sys.argv[2]}, authorization=bearer)
print(json.dumps(call("/v1/conversations", authorization=bearer)["conversations"]))
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("image")
    for each in (folder, *folder.parents[:2]):
        each.chmod(0o755)  # pytest's are its user's alone; the image's user is another
    return container.lay_out(folder)


@pytest.fixture
def running(image: Image, tmp_path: Path) -> Iterator[Container]:
    with container.running(image, tmp_path / "log") as started:
        yield started


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    """compose.yaml's one service, after the whole file was checked against the Compose specification."""
    return PyCompose.from_yaml((ROOT / "compose.yaml").read_text()).to_dict()["services"]["bot"]


def test_dockerfile_passes_the_linter():
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), "--failure-threshold", "style", ROOT / "Dockerfile"],
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (0, b"")


@pytest.mark.parametrize(
    "path",
    [".env", ".git/config", "data/wordup.db", "functions/lambda_function.py", "functions/wordup/__pycache__/a.pyc"],
)
def test_builder_sees_nothing_but_what_is_copied(path: str):
    assert not container.is_sent(path)


def test_image_names_no_secret():
    said = [rest for word, rest in container.instructions() if word in ("ENV", "ARG", "LABEL")]
    assert said
    assert not any(word in rest.upper() for rest in said for word in ("KEY", "SECRET", "TOKEN", "PASSWORD"))


def test_compose_hardens_the_service(service: dict[str, Any]):
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"


def test_compose_publishes_the_port_of_the_command_on_this_machine_only(service: dict[str, Any], image: Image):
    assert service["ports"] == ["127.0.0.1:8000:" + image.command[image.command.index("--port") + 1]]


def test_data_lies_in_the_volume(service: dict[str, Any], image: Image):
    assert image.environment["WORDUP_DATA_DIR"] == image.volume
    assert service["volumes"] == [f"data:{image.volume}"]


def test_command_runs_without_privileges_on_a_read_only_root(running: Container, image: Image):
    status = running.status()
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == 0
    assert status["Uid"].split()[0] == (image.user.split(":")[0] if os.geteuid() == 0 else str(os.geteuid()))
    assert running.run(["touch", "/app/file"]).returncode != 0
    assert running.is_healthy()


def test_conversation_outlives_the_container(image: Image, tmp_path: Path):
    with container.running(image, tmp_path / "first") as first:
        key = first.run(["python", "server.py", "--new-key", "anna"]).stdout.strip()
        asked = first.run(["python", "-c", CONVERSE, key, "What is AWS Lambda?"])
        assert first.stop() == 0, first.log
    with container.running(image, tmp_path / "second") as second:
        kept = second.run(["python", "-c", CONVERSE, key])
    assert asked.returncode == 0, asked.stderr
    assert kept.stdout == asked.stdout != "[]\n"


def test_health_check_fails_where_nobody_answers(running: Container, image: Image):
    elsewhere = shlex.join(image.health).replace("8000", "8001")
    assert running.run(["sh", "-c", elsewhere]).returncode != 0
