"""Where models come from: a folder, object storage, or a hub id pinned to a revision. Safetensors and ONNX only.

A pickle runs whatever its author wrote, so a folder that holds one, under any name, or any code is refused whole,
before a library looks at it.
"""

import re
import struct
from pathlib import Path

import msgspec
import obstore
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from obstore import exceptions

from serving.errors import ModelRefused
from serving.objects import open_bucket

_STORAGE = re.compile(r"(s3|gs|az)://([a-z0-9][a-z0-9._-]{1,61}[a-z0-9])/([^?#\\]*)")
_HUB = re.compile(r"hub:([A-Za-z0-9._-]+/[A-Za-z0-9._-]+)@([A-Za-z0-9._/-]+)")
# What a diffusers or ONNX model needs; nothing else is fetched from a hub.
_HUB_FILES = ["*.json", "*.safetensors", "*.onnx", "*.onnx_data", "*.txt", "*.model"]
_REFUSED_SUFFIXES = frozenset(
    {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5", ".keras", ".py", ".so"}
)
# Pickle protocols 2 to 5 begin with 0x80 and their number; torch's own format is a zip of pickles.
_REFUSED_STARTS = (*(bytes((0x80, protocol)) for protocol in range(2, 6)), b"PK\x03\x04")


def fetch(source: str, cache: Path) -> Path:
    """The model's folder on this disk, checked. Raises ModelRefused."""
    if match := _STORAGE.fullmatch(source):
        folder = _from_storage(match[1], match[2], match[3].strip("/"), cache)
    elif match := _HUB.fullmatch(source):
        folder = _from_hub(match[1], match[2], cache)
    elif ":" in source:
        raise ModelRefused(
            f"{source} is no model's address.",
            mend="Name a folder, an s3://, gs:// or az:// prefix, or hub:owner/name@revision.",
        )
    else:
        folder = Path(source)
    if not folder.is_dir():
        raise ModelRefused(f"{source} is no folder.", mend="Check INFERENCE_MODEL.")
    refuse_code(folder)
    return folder


def refuse_code(folder: Path) -> None:
    """Raises ModelRefused for a folder with a pickle or code in it, whatever the file's name."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        with path.open("rb") as file:
            start = file.read(4)
        if path.suffix.lower() in _REFUSED_SUFFIXES or start.startswith(_REFUSED_STARTS):
            raise ModelRefused(
                f"{path.relative_to(folder)} may hold code.",
                mend="Convert the weights to safetensors or ONNX and leave every other binary out.",
            )


def safetensors_elements(folder: Path) -> int:
    """The number of weights in the folder's safetensors files, read from their headers alone.

    The format: 8 bytes of length, little-endian, then a JSON header with every tensor's shape
    (github.com/huggingface/safetensors, "Format"). Raises ModelRefused for a broken file.
    """
    total = 0
    for path in folder.rglob("*.safetensors"):
        try:
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                if length > path.stat().st_size:
                    raise ModelRefused(f"{path.name} is no safetensors file.")
                header = msgspec.json.decode(file.read(length), type=dict[str, _Tensor])
        except (struct.error, msgspec.DecodeError) as error:
            raise ModelRefused(f"{path.name} is no safetensors file.") from error
        for tensor in header.values():
            count = 1
            for side in tensor.shape:
                count *= side
            total += count if tensor.dtype else 0
    return total


class _Tensor(msgspec.Struct):
    dtype: str = ""
    shape: list[int] = []


def _from_storage(scheme: str, bucket: str, prefix: str, cache: Path) -> Path:
    folder = cache / scheme / bucket / prefix
    store = open_bucket(scheme, bucket)
    try:
        for listed in obstore.list(store, f"{prefix}/" if prefix else None):
            for item in listed:
                target = folder / item["path"].removeprefix(prefix).lstrip("/")
                if not target.resolve().is_relative_to(folder.resolve()):
                    raise ModelRefused(f"{item['path']} lies outside the model's prefix.")
                if target.is_file() and target.stat().st_size == item["size"]:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                partial = target.with_name(f"{target.name}.partial")
                with partial.open("wb") as file:
                    for chunk in obstore.get(store, item["path"]):
                        file.write(chunk)
                partial.replace(target)
    except (FileNotFoundError, exceptions.BaseError) as error:
        raise ModelRefused(
            f"{scheme}://{bucket}/{prefix} cannot be read.", mend="Check the address and the server's role."
        ) from error
    return folder


def _from_hub(repository: str, revision: str, cache: Path) -> Path:
    try:
        linked = snapshot_download(repository, revision=revision, allow_patterns=_HUB_FILES, cache_dir=cache / "hub")
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise ModelRefused(
            f"{repository}@{revision} cannot be fetched from the hub.", mend="Check the id, the revision and HF_TOKEN."
        ) from error
    return Path(linked)
