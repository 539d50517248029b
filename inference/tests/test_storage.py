"""Large inputs and outputs by address, and models from object storage or a hub."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store
from PIL import Image

from serving.errors import ModelRefused
from serving.loading import fetch
from tests.conftest import Server, file, opened, requests, text
from tests.storage import hub, s3

__all__ = ["s3"]

pytestmark = pytest.mark.usefixtures("s3")


@pytest.fixture
def bucketed(start: Callable[..., Server], models: str) -> Server:
    return start(model=models, input_uris="s3://media/in", output_uris="s3://media/out", object_bytes=5_000)


def test_picture_by_address_gives_the_same_as_the_picture_itself(bucketed: Server) -> None:
    obstore.put(S3Store("media"), "in/a.png", file())
    body = requests()["img2img"]
    sent, named = bucketed.ask(**body), bucketed.ask(**body | {"image": "s3://media/in/a.png"})
    assert sent.json()["data"] == named.json()["data"]
    assert bucketed.ask(task="classify", images=["s3://media/in/a.png", text()]).status_code == 200


@pytest.mark.parametrize(("task", "name"), [("text2img", "a.png"), ("text2video", "a.mp4")])
def test_result_goes_to_its_address_and_not_into_the_answer(bucketed: Server, task: str, name: str) -> None:
    address = f"s3://media/out/{name}"
    answer = bucketed.ask(accept="image/*" if task == "text2img" else "*/*", **requests()[task], output_uri=address)
    stored = obstore.get(S3Store("media"), f"out/{name}")
    data = stored.bytes().to_bytes()
    assert (answer.json()["output_uri"], answer.json()["size_bytes"]) == (address, len(data))
    assert "data" not in answer.json()
    assert stored.attributes["Content-Type"] == answer.json()["media_type"]
    if task == "text2img":
        assert Image.open(io.BytesIO(data)).size == (64, 64)


@pytest.mark.parametrize("name", ["in/absent.png", "in/large.png"])
def test_object_that_cannot_be_used_is_named(bucketed: Server, name: str) -> None:
    obstore.put(S3Store("media"), "in/large.png", bytes(6_000))
    problem = bucketed.ask(**requests()["img2img"] | {"image": f"s3://media/{name}"})
    assert (problem.status_code, problem.json()["code"]) == (422, "object_unavailable")
    assert problem.json()["pointer"] == "/image"


def test_bucket_to_read_is_none_to_write(bucketed: Server) -> None:
    problem = bucketed.ask(**requests()["text2img"], output_uri="s3://media/in/a.png")
    assert (problem.status_code, problem.json()["code"]) == (400, "forbidden_uri")


def _upload(folder: Path, prefix: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            obstore.put(S3Store("models"), f"{prefix}/{path.relative_to(folder)}", path.read_bytes())


def test_model_from_object_storage_draws_the_same_picture(
    start: Callable[..., Server], server: Server, image_model: Path, tmp_path: Path
) -> None:
    _upload(image_model, "team/tiny")
    fetched = start(model="s3://models/team/tiny/", model_cache=str(tmp_path))
    body = requests()["text2img"]
    assert opened(fetched.ask(**body).json()).tobytes() == opened(server.ask(**body).json()).tobytes()


def test_model_from_object_storage_with_a_pickle_is_refused(image_model: Path, tmp_path: Path) -> None:
    _upload(image_model, "bad")
    obstore.put(S3Store("models"), "bad/unet/extra.bin", b"\x80\x04K\x01.")
    with pytest.raises(ModelRefused, match=r"unet/extra\.bin"):
        fetch("s3://models/bad", tmp_path)


def test_absent_bucket_is_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="absent-bucket"):
        fetch("s3://absent-bucket/model", tmp_path)


def test_model_from_a_hub_comes_at_its_revision_without_its_pickles(image_model: Path, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "unet").mkdir(parents=True)
    for name in ("model_index.json", "unet/diffusion_pytorch_model.safetensors"):
        (repository / name).write_bytes((image_model / name).read_bytes())
    (repository / "unet/diffusion_pytorch_model.bin").write_bytes(b"\x80\x04K\x01.")
    (repository / "handler.py").write_text("raise SystemExit")
    script = "import sys, pathlib, serving.loading as l; print(l.fetch(sys.argv[1], pathlib.Path(sys.argv[2])))"
    with hub("team/tiny", "v1", repository) as url:
        environment = {name: os.environ[name] for name in ("PATH", "HOME")} | {"HF_ENDPOINT": url}
        command = [sys.executable, "-c", script, "hub:team/tiny@v1", str(tmp_path / "cache")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        absent = subprocess.run(
            [*command[:3], "hub:team/other@v1", command[4]], env=environment, capture_output=True, text=True
        )
    folder = Path(done.stdout.strip())
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {"model_index.json", "unet/diffusion_pytorch_model.safetensors"}
    assert "ModelRefused: team/other@v1 cannot be fetched from the hub" in absent.stderr
