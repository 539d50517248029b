"""Malformed, oversized and hostile input: a 4xx, and nothing of it is read, decoded or run."""

import base64
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from serving import images
from serving.errors import InvalidImage
from tests.conftest import Server, file, picture, requests, text


def _png(width: int, height: int) -> bytes:
    """A tiny file that unfolds into a huge picture."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = zlib.compress(bytes((width + 7) // 8 + 1) * min(height, 1000))
    return images.PNG + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("run.py", "print('run')")
    return out.getvalue()


POLYGLOTS = {
    "png_and_zip": file() + _zip(),
    "jpeg_and_zip": file(kind="JPEG") + _zip(),
    "webp_and_zip": file(kind="WEBP") + _zip(),
    "png_and_html": file() + b"<script>alert(1)</script>",
    "html_and_png": b"<!--" + file(),
    "gif_header_and_javascript": b"GIF89a/*" + bytes(64) + b"*/=1;alert(1)",
}
BROKEN = {
    "empty": b"",
    "text": b"hello",
    "cut_png": file()[:100],
    "cut_jpeg": file(kind="JPEG")[:100],
    "cut_webp": file(kind="WEBP")[:40],
    "png_signature_alone": images.PNG,
    "jpeg_start_alone": b"\xff\xd8\xff",
    "jpeg_without_a_frame": b"\xff\xd8\xff\xd9",
    "png_without_pixels": images.PNG + file()[8:33] + b"\x00\x00\x00\x00IEND\xaeB`\x82",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "bmp": file(kind="BMP"),
    "tiff": file(kind="TIFF"),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0",
}
BOMBS = {"50000_x_50000": _png(50_000, 50_000), "1_x_2_billion": _png(1, 2**31 - 1), "0_x_0": _png(0, 0)}


@pytest.mark.parametrize("name", [*POLYGLOTS, *BROKEN, *BOMBS])
def test_hostile_picture_is_refused(server: Server, name: str) -> None:
    data = (POLYGLOTS | BROKEN | BOMBS)[name]
    before = server.metric("inference_batch_size_count")
    response = server.ask(**requests()["img2img"] | {"image": base64.b64encode(data).decode()})
    assert response.status_code == 400
    assert response.json()["pointer"] == "/image"
    assert server.metric("inference_batch_size_count") == before


def test_bomb_is_refused_before_any_decoder_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a decoder saw it")

    monkeypatch.setattr(Image, "open", opened)
    for bomb in BOMBS.values():
        with pytest.raises(InvalidImage):
            images.decode(bomb, max_pixels=16_777_216, pointer="/image")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_honest_picture_of_every_format_is_read(kind: str, mode: str) -> None:
    decoded = images.decode(file(picture(40, 30, mode), kind), max_pixels=1200, pointer="/image")
    assert (decoded.size, decoded.mode) == ((40, 30), "RGB")


@pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 1}])
def test_jpeg_of_every_layout_is_read_to_its_end(options: dict[str, Any]) -> None:
    out = io.BytesIO()
    Image.effect_noise((50, 70), 100).convert("RGB").save(out, "JPEG", **options)
    assert images.dimensions(out.getvalue()) == ("JPEG", 50, 70)


@pytest.mark.parametrize("options", [{"lossless": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}])
def test_webp_of_every_layout_states_its_size(options: dict[str, Any]) -> None:
    out = io.BytesIO()
    picture(33, 21).save(out, "WEBP", **options)
    assert images.dimensions(out.getvalue()) == ("WEBP", 33, 21)


def test_every_changed_byte_of_a_header_is_refused_or_read_within_the_limit() -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        data = file(picture(16, 16), kind)
        for at in range(min(len(data), 64)):
            for value in (0x00, 0x7F, 0xFF):
                changed = data[:at] + bytes([value]) + data[at + 1 :]
                try:
                    decoded = images.decode(changed, max_pixels=4096, pointer="/image")
                except InvalidImage:
                    continue
                assert decoded.width * decoded.height <= 4096


ADDRESSES = [
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "https://10.0.0.1/a.png",
    "http://[fd00:ec2::254]/latest/meta-data",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "ftp://example.com/a.png",
    "data:image/png;base64,AAAA",
    "s3://169.254.169.254/a.png",
    "s3://other-bucket/a.png",
    "s3://allowed-bucket/private/../../other-bucket/a.png",
    "s3://allowed-bucket-evil/in/a.png",
    "s3://allowed-bucket/in-evil/a.png",
    "s3://allowed-bucket/in//a.png",
    "s3://allowed-bucket/in/a.png?versionId=1",
    "s3://allowed-bucket/in/%2e%2e/a.png",
    "s3://user@allowed-bucket/in/a.png",
    "s3://allowed-bucket:80/in/a.png",
    "s3://allowed-bucket/in/a.png\r\nHost: evil",
]


@pytest.fixture(scope="module")
def guarded(settings: Callable[..., Any], image_model: Path) -> Any:
    from tests.conftest import serving

    with serving(settings(model=str(image_model), input_uris="s3://allowed-bucket/in", body_bytes=50_000)) as server:
        yield server


@pytest.mark.parametrize("address", ADDRESSES)
def test_address_outside_the_allowed_buckets_is_refused_unread(guarded: Server, address: str) -> None:
    for field in ("image", "output_uri"):
        response = guarded.ask(**requests()["img2img"] | {field: address})
        assert (response.status_code, response.json()["code"]) == (400, "forbidden_uri")
        assert response.json()["pointer"] == f"/{field}"


def _with(**fields: object) -> dict[str, Any]:
    return requests()["text2img"] | fields


MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "no_task": ({"prompt": "x"}, ""),
    "unknown_task": (_with(task="text2fake"), "/task"),
    "unknown_field": (_with(scheduler="x"), ""),
    "empty_prompt": (_with(prompt="  "), "/prompt"),
    "long_prompt": (_with(prompt="x" * 2001), "/prompt"),
    "long_negative_prompt": (_with(negative_prompt="x" * 2001), "/negative_prompt"),
    "prompt_of_a_wrong_type": (_with(prompt=["x"]), "/prompt"),
    "no_steps": (_with(steps=0), "/steps"),
    "many_steps": (_with(steps=101), "/steps"),
    "huge_integer": (_with(steps=10**30), "/steps"),
    "negative_seed": (_with(seed=-1), "/seed"),
    "huge_seed": (_with(seed=2**63), "/seed"),
    "odd_width": (_with(width=63), "/width"),
    "huge_height": (_with(height=8192), "/height"),
    "guidance_beyond": (_with(guidance_scale=51), "/guidance_scale"),
    "format_unknown": (_with(format="gif"), "/format"),
    "strength_of_nothing": (requests()["img2img"] | {"strength": 0.1}, "/strength"),
    "picture_not_base64": (requests()["img2img"] | {"image": "&&&"}, "/image"),
    "picture_of_a_wrong_type": (requests()["img2img"] | {"image": 5}, "/image"),
    "mask_missing": ({k: v for k, v in requests()["inpaint"].items() if k != "mask"}, ""),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_field_is_named(server: Server, name: str) -> None:
    body, pointer = MALFORMED[name]
    problem = server.ask(**body)
    assert problem.status_code == 400
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["pointer"] == pointer
    assert problem.json()["mend"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"task":"text2img","prompt":"\xff"}',
        b'{"task":"text2img","prompt":"\\ud800"}',
        b'{"task":"text2img","prompt":NaN}',
        b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"instances":{"prompt":"x"}}',
        b'{"instances":["x"]}',
        b'{"instances":[{}],"parameters":[]}',
        b'{"instances":[{}],"other":1}',
    ],
    ids=lambda body: body[:24].decode("latin-1"),
)
def test_body_that_is_no_request_is_refused(server: Server, body: bytes) -> None:
    for path in ("/invocations", "/v1/endpoints/1:predict"):
        response = server.client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 400
        assert response.json()["code"] in ("malformed_json", "invalid_field")


def test_video_frames_must_fit_the_model(server: Server) -> None:
    for frames in (4, 125):
        problem = server.ask(**requests()["text2video"] | {"frames": frames})
        assert (problem.status_code, problem.json()["pointer"]) == (400, "/frames")


def test_body_over_the_limit_is_refused_declared_or_not(guarded: Server) -> None:
    body = json.dumps(requests()["text2img"] | {"prompt": "x" * 60_000}).encode()
    declared = guarded.client.post("/invocations", content=body, headers={"Content-Type": "application/json"})
    chunks = (body[at : at + 1000] for at in range(0, len(body), 1000))
    chunked = guarded.client.post("/invocations", content=chunks, headers={"Content-Type": "application/json"})
    assert declared.status_code == chunked.status_code == 413


def test_method_and_address_that_do_not_exist_are_problems(server: Server) -> None:
    wrong_method = server.client.get("/invocations")
    assert (wrong_method.status_code, wrong_method.headers["allow"]) == (405, "POST")
    assert server.client.post("/ping").status_code == 405
    assert server.client.get("/admin").json()["code"] == "not_found"


def test_result_over_the_platform_limit_asks_for_an_address(start: Callable[..., Server], image_model: Path) -> None:
    problem = start(model=str(image_model), response_bytes=1000).ask(**requests()["text2img"])
    assert (problem.status_code, problem.json()["code"]) == (422, "result_too_large")


def test_request_that_cannot_fit_is_refused_before_it_runs(start: Callable[..., Server], image_model: Path) -> None:
    server = start(model=str(image_model), memory_bytes=2_000_000)
    assert server.ask(**requests()["text2img"]).status_code == 200
    problem = server.ask(**requests()["text2img"], width=128, height=128)
    assert (problem.status_code, problem.json()["code"]) == (422, "over_memory_budget")


def test_more_pictures_than_the_limit_are_refused(start: Callable[..., Server], models: str) -> None:
    server = start(model=models.split(",")[2], input_images=2)
    problem = server.ask(task="classify", images=[text()] * 3)
    assert (problem.status_code, problem.json()["pointer"]) == (400, "/images")
