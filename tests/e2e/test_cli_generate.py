"""`wordup generate` as a person runs it, against the inference server itself with tiny random models."""

import json
import struct
import zlib
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.home import WORDUP, environment, wordup
from tests.inference_server import free_port, inference_server
from tests.terminal import Terminal

PROMPT = "a lighthouse"


def png(shade: int) -> bytes:
    """64 x 64 pixels of one grey."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes([shade]) * 64) * 64)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with inference_server(tmp_path_factory.mktemp("models")) as port:
        yield f"http://127.0.0.1:{port}"


def test_generate_writes_the_picture_and_says_how_to_have_it_again(url: str, tmp_path: Path) -> None:
    options = ("--url", url, "--width", "64", "--height", "64", "--steps", "2", "--seed", "7", "--json")
    first = wordup(tmp_path, "generate", PROMPT, "--out", "a.png", *options)
    again = wordup(tmp_path, "generate", PROMPT, "--out", "b.webp", *options)

    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    told = json.loads(first.stdout)
    assert (told["path"], told["seed"], told["width"], told["media_type"]) == ("a.png", 7, 64, "image/png")
    assert told["size_bytes"] == (tmp_path / "a.png").stat().st_size
    assert (tmp_path / "a.png").read_bytes()[:24] == png(0)[:24]  # the same kind and size
    assert (tmp_path / "b.webp").read_bytes()[8:12] == b"WEBP"
    assert "step 2 of 2" in first.stderr
    assert [file.name for file in tmp_path.iterdir() if file.name.endswith(".part")] == []


def test_generate_begins_with_a_picture_and_films(url: str, tmp_path: Path) -> None:
    (tmp_path / "grey.png").write_bytes(png(100))
    (tmp_path / "mask.png").write_bytes(png(255))
    size = ("--url", url, "--width", "64", "--height", "64", "--steps", "2", "--json")
    over = wordup(tmp_path, "generate", PROMPT, "--out", "over.jpg", "--image", "grey.png", *size)
    inside = wordup(tmp_path, "generate", PROMPT, "--out", "in.png", "--image", "grey.png", "--mask", "mask.png", *size)
    film = wordup(tmp_path, "generate", PROMPT, "--out", "film.mp4", "--frames", "5", *size)

    assert [json.loads(done.stdout)["task"] for done in (over, inside, film)] == ["img2img", "inpaint", "text2video"]
    assert (tmp_path / "film.mp4").read_bytes()[4:8] == b"ftyp"


def test_generate_shows_how_far_it_is_and_leaves_nothing_when_interrupted(url: str, tmp_path: Path) -> None:
    command = [WORDUP, "generate", PROMPT, "--out", "long.png", "--url", url, "--steps", "900"]
    with Terminal(command, tmp_path, environment(tmp_path)) as terminal:
        terminal.see("drawing")
        terminal.type("\x03")
        assert terminal.ended() != 0
    assert list(tmp_path.glob("*.p*")) == []


@pytest.mark.parametrize(
    ("options", "status", "sentence"),
    [
        (("--out", "a.gif", "--url", "http://127.0.0.1:1"), 2, "--out ends in"),
        (("--out", "a.png"), 2, "Name either --endpoint or --url"),
        (("--out", "there.png", "--url", "http://127.0.0.1:1"), 2, "--force replaces it"),
        (("--out", "a.png", "--endpoint", "absent"), 1, "wordup.toml has no [inference.absent]"),
        (("--out", "a.png", "--url", f"http://127.0.0.1:{free_port()}"), 1, "cannot be reached"),
    ],
)
def test_generate_explains_what_is_wrong(options: tuple[str, ...], status: int, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "there.png").write_bytes(b"mine")
    done = wordup(tmp_path, "generate", PROMPT, *options)

    assert done.returncode == status
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert (tmp_path / "there.png").read_bytes() == b"mine"


def test_generate_tells_what_the_server_refuses(url: str, tmp_path: Path) -> None:
    done = wordup(tmp_path, "generate", PROMPT, "--out", "a.png", "--url", url, "--width", "100000")

    assert done.returncode == 1
    assert "width" in done.stderr, done.stderr
    assert not (tmp_path / "a.png").exists()
