"""What is refused before it is loaded: pickles under any name, code, unknown or broken models, what does not fit."""

import asyncio
import json
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from serving.config import Settings
from serving.errors import ConfigurationError, ModelRefused
from serving.loading import fetch, safetensors_elements
from serving.memory import MemoryBudget
from serving.metrics import Metrics
from serving.pipelines import load
from serving.pipelines.base import Runtime
from serving.service import Service

RUNTIME = Runtime(torch.device("cpu"), torch.float32, 1)


class Marker:
    """Unpickling it would leave a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return subprocess.run, (["touch", str(self.path)],)


@pytest.fixture
def copy(image_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(image_model, tmp_path / "model")


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.bin", "weights.ckpt", "notes.txt", "model.safetensors"])
def test_pickle_under_any_name_is_refused_unread(copy: Path, tmp_path: Path, name: str) -> None:
    (copy / name).write_bytes(pickle.dumps(Marker(tmp_path / "ran")))
    with pytest.raises(ModelRefused, match="may hold code"):
        fetch(str(copy), tmp_path)
    assert not (tmp_path / "ran").exists()


def test_torch_archive_under_another_name_is_refused(copy: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, copy / "weights.txt")
    with pytest.raises(ModelRefused, match=r"weights\.txt may hold code"):
        fetch(str(copy), tmp_path)


def test_code_beside_the_weights_is_refused(copy: Path, tmp_path: Path) -> None:
    (copy / "pipeline.py").write_text("print('run')")
    with pytest.raises(ModelRefused, match=r"pipeline\.py may hold code"):
        fetch(str(copy), tmp_path)


@pytest.mark.parametrize("source", ["ftp://host/model", "https://host/model", "hub:owner/name", "file:///model"])
def test_address_that_no_model_comes_from_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="is no model's address"):
        fetch(source, tmp_path)


def test_absent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="is no folder"):
        fetch(str(tmp_path / "absent"), tmp_path)


def _load(folder: Path, settings: Callable[..., Settings], budget: int = 1 << 30) -> MemoryBudget:
    memory = MemoryBudget(budget)
    load(folder, settings(), RUNTIME, memory, Metrics())
    return memory


def test_weights_are_counted_from_the_headers_alone(image_model: Path, settings: Callable[..., Settings]) -> None:
    elements = safetensors_elements(image_model)
    assert _load(image_model, settings).weights == elements * 4
    size = sum(path.stat().st_size for path in image_model.rglob("*.safetensors"))
    assert 0 < size - elements * 4 < size / 2


def test_model_heavier_than_the_budget_is_refused(image_model: Path, settings: Callable[..., Settings]) -> None:
    with pytest.raises(ModelRefused, match="weighs"):
        _load(image_model, settings, budget=1000)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("model_index.json", b"{", "cannot be read"),
        ("model_index.json", b'{"_class_name":"DanceDiffusionPipeline"}', "is no pipeline that this server runs"),
        ("unet/diffusion_pytorch_model.safetensors", b"\xff" * 64, "is no safetensors file"),
        ("unet/diffusion_pytorch_model.safetensors", b"", "is no safetensors file"),
        ("unet/config.json", b"{", "cannot be loaded"),
    ],
)
def test_broken_model_is_refused_with_its_reason(
    copy: Path, settings: Callable[..., Settings], name: str, content: bytes, reason: str
) -> None:
    (copy / name).write_bytes(content)
    with pytest.raises(ModelRefused, match=reason):
        _load(copy, settings)


def test_missing_weights_are_refused(copy: Path, settings: Callable[..., Settings]) -> None:
    (copy / "unet/diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ModelRefused, match="cannot be loaded"):
        _load(copy, settings)


def test_folder_that_holds_no_model_is_refused(tmp_path: Path, settings: Callable[..., Settings]) -> None:
    with pytest.raises(ModelRefused, match="neither"):
        _load(tmp_path, settings)


@pytest.mark.parametrize("part", ["classifier.json", "model.onnx"])
def test_broken_classifier_is_refused(
    models: str, tmp_path: Path, settings: Callable[..., Settings], part: str
) -> None:
    folder = shutil.copytree(models.split(",")[2], tmp_path / "classifier")
    (folder / part).write_bytes(b"{}x")
    with pytest.raises(ModelRefused):
        _load(folder, settings)


async def load_and_close(settings: Settings) -> None:
    service = Service(settings)
    try:
        await service.load()
    finally:
        await service.close()


def test_classifier_whose_labels_do_not_match_is_refused(models: str, tmp_path: Path) -> None:
    folder = shutil.copytree(models.split(",")[2], tmp_path / "classifier")
    described = json.loads((folder / "classifier.json").read_text()) | {"labels": ["one", "two", "three"]}
    (folder / "classifier.json").write_text(json.dumps(described))
    with pytest.raises(ModelRefused, match="do not match"):
        asyncio.run(load_and_close(Settings.parse({"model": str(folder)})))


def test_two_models_for_one_task_are_refused(image_model: Path) -> None:
    twice = Settings.parse({"model": f"{image_model},{image_model}", "default_side": 64})
    with pytest.raises(ConfigurationError, match="Two models"):
        asyncio.run(load_and_close(twice))
