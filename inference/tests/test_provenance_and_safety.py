"""Content credentials that verify, and a safety checker that blocks what it sees, before and after."""

import asyncio
import base64
import datetime
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from serving.errors import ConfigurationError
from serving.provenance import ContentCredentials
from tests import tiny
from tests.conftest import Server, requests
from tests.test_loading import load_and_close

Start = Callable[..., Server]


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    authority, now = name == issuer, datetime.datetime.now(datetime.UTC)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    usage |= {"digital_signature": not authority, "key_cert_sign": authority, "crl_sign": authority}

    def named(common: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, common), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test")]
        )

    builder = (
        x509.CertificateBuilder(named(issuer), named(name), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The settings of a test authority's signer."""
    folder = tmp_path_factory.mktemp("signer")
    authority, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    chain = [
        _certificate("Signer", leaf, "Authority", authority),
        _certificate("Authority", authority, "Authority", authority),
    ]
    pem = serialization.Encoding.PEM
    (folder / "chain.pem").write_bytes(b"".join(one.public_bytes(pem) for one in chain))
    (folder / "key.pem").write_bytes(
        leaf.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {"c2pa_certificate": str(folder / "chain.pem"), "c2pa_key": str(folder / "key.pem")}


def _manifest(data: bytes, media_type: str) -> dict[str, Any]:
    reader = c2pa.Reader(media_type, io.BytesIO(data))
    assert reader.get_validation_state() == "Valid"
    read = json.loads(reader.json())
    return read["manifests"][read["active_manifest"]]


def test_every_generated_file_carries_credentials_that_verify(
    start: Start, models: str, signer: dict[str, str]
) -> None:
    server = start(model=models, **signer)
    formats = [("text2img", {"format": kind}) for kind in ("png", "jpeg", "webp")]
    for task, more in [*formats, ("img2img", {}), ("text2video", {})]:
        answer = server.ask(**requests()[task] | more).json()
        manifest = _manifest(base64.b64decode(answer["data"]), answer["media_type"])
        (actions,) = (one["data"]["actions"] for one in manifest["assertions"] if one["label"] == "c2pa.actions.v2")
        (action,) = actions
        made_from = "compositeWithTrained" if task == "img2img" else "/trained"
        assert action["action"] == "c2pa.created"
        assert f"{made_from}AlgorithmicMedia" in action["digitalSourceType"]
        assert "thumbnail" not in manifest
        assert manifest["signature_info"]["common_name"] == "Signer"


def test_changed_pixels_break_the_credentials(start: Start, image_model: Path, signer: dict[str, str]) -> None:
    answer = start(model=str(image_model), **signer).ask(**requests()["text2img"]).json()
    data = bytearray(base64.b64decode(answer["data"]))
    data[-40] ^= 1
    assert c2pa.Reader("image/png", io.BytesIO(bytes(data))).get_validation_state() == "Invalid"


def test_key_that_cannot_sign_is_refused_at_start(tmp_path: Path, signer: dict[str, str]) -> None:
    (tmp_path / "key.pem").write_text("no key")
    for key in (tmp_path / "key.pem", tmp_path / "absent.pem"):
        with pytest.raises(ConfigurationError):
            ContentCredentials(Path(signer["c2pa_certificate"]), key)


@pytest.mark.parametrize(("bias", "status"), [(9.0, 422), (-9.0, 200)])
def test_safety_checker_looks_at_what_goes_out(
    start: Start, models: str, tmp_path: Path, bias: float, status: int
) -> None:
    checker = tiny.classifier(tmp_path / "safety", ("safe", "unsafe"), bias=bias)
    server = start(model=models, safety_model=str(checker))
    for task in ("text2img", "text2video"):
        response = server.ask(**requests()[task])
        assert response.status_code == status
        assert response.json().get("code") == ("content_blocked" if status == 422 else None)


def test_safety_checker_blocks_a_picture_before_any_work(start: Start, models: str, tmp_path: Path) -> None:
    server = start(model=models, safety_model=str(tiny.classifier(tmp_path / "s", ("safe", "unsafe"), bias=9.0)))
    for task in ("img2img", "classify"):
        assert server.ask(**requests()[task]).json()["code"] == "content_blocked"
    assert server.metric("inference_batch_size_count") == 0


def test_safety_label_that_the_model_lacks_is_refused_at_start(settings: Callable[..., Any], tmp_path: Path) -> None:
    checker = tiny.classifier(tmp_path / "safety", ("safe", "unsafe"))
    with pytest.raises(ConfigurationError, match="no label nsfw"):
        asyncio.run(load_and_close(settings(safety_model=str(checker), safety_label="nsfw")))
