"""A key vault on this machine: HTTPS, the challenge that Azure's client wants, secrets by their path."""

import datetime
import json
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, override
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TOKEN = "of the caller"
CREATED = 1_800_000_000


class KeyVault(HTTPServer):
    """Has the secrets in `held` by their path; a number in place of one is the status of its refusal."""

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.held: dict[str, str | int] = {}
        self.versions: dict[str, list[dict[str, Any]]] = {}  # by the secret's path, oldest first

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        vault: Any = self.server
        if not self._is_known():
            return
        secret, _, last = self._secret.rpartition("/")
        if last == "versions":
            self._send(200, {"value": vault.versions[secret]})
        else:
            self._answer()

    def do_PUT(self) -> None:
        vault: Any = self.server
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self._is_known():
            vault.held[self._secret] = json.loads(content)["value"]
            versions = vault.versions.setdefault(self._secret, [])
            attributes = {"enabled": True, "created": CREATED + len(versions)}
            versions.append({"id": f"{vault.url}{self._secret}/{len(versions):032x}", "attributes": attributes})
            self._answer(versions[-1])

    def do_PATCH(self) -> None:
        vault: Any = self.server
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self._is_known():
            [version] = [each for each in vault.versions[self._secret.rpartition("/")[0]] if each["id"] == self._id]
            version["attributes"] |= json.loads(content)["attributes"]
            self._send(200, version)

    @property
    def _id(self) -> str:
        vault: Any = self.server
        return vault.url + self._secret

    @property
    def _secret(self) -> str:
        return urlsplit(self.path).path.rstrip("/")

    def _is_known(self) -> bool:
        vault: Any = self.server
        if self.headers["Authorization"] == f"Bearer {TOKEN}":
            return True
        self.send_response(401)
        challenge = f'Bearer authorization="https://login.microsoftonline.com/tenant", resource="{vault.url}"'
        self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def _answer(self, version: dict[str, Any] | None = None) -> None:
        vault: Any = self.server
        found = vault.held.get(self._secret, 404)
        if isinstance(found, int):
            self._send(found, {"error": {"code": "No", "message": "no"}})
        else:
            self._send(200, {"id": self._id, **(version or {}), "value": found})

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def certificate(folder: Path) -> Path:
    """A new one for 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def started(certificate: Path) -> Generator[KeyVault]:
    with KeyVault(certificate) as vault:
        thread = threading.Thread(target=vault.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield vault
        finally:
            vault.shutdown()
            thread.join()
