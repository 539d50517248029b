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


class KeyVault(HTTPServer):
    """Has the secrets in `held` by their path; a number in place of one is the status of its refusal."""

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.held: dict[str, str | int] = {}

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self._is_known():
            self._answer()

    def do_PUT(self) -> None:
        vault: Any = self.server
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self._is_known():
            vault.held[self._secret] = json.loads(content)["value"]
            self._answer()

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

    def _answer(self) -> None:
        vault: Any = self.server
        found = vault.held.get(self._secret, 404)
        refused = isinstance(found, int)
        value = {"value": found, "id": vault.url + self._secret}
        content = json.dumps({"error": {"code": "No", "message": "no"}} if refused else value).encode()
        self.send_response(found if refused else 200)
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
