"""Azure Key Vault's adapter, against an HTTPS server that answers as it does."""

import datetime
import json
import ssl
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, override
from urllib.parse import urlsplit

import pytest
from azure.core.credentials import AccessToken
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wordup.errors import SecretUnavailable
from wordup.secrets.azure import AzureSecrets

TOKEN = "of the function"


class Identity:
    """The function's own, as far as Key Vault asks for it."""

    async def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken(TOKEN, 2**33)

    async def __aenter__(self) -> "Identity":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


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
        vault: Any = self.server
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.send_response(401)
            challenge = f'Bearer authorization="https://login.microsoftonline.com/tenant", resource="{vault.url}"'
            self.send_header("WWW-Authenticate", challenge)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path = urlsplit(self.path).path.rstrip("/")
        found = vault.held.get(path, 404)
        refused = isinstance(found, int)
        body = {"error": {"code": "No", "message": "no"}} if refused else {"value": found, "id": vault.url + path}
        content = json.dumps(body).encode()
        self.send_response(found if refused else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    path = tmp_path_factory.mktemp("vault") / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def vault(certificate: Path) -> Generator[KeyVault]:
    with KeyVault(certificate) as vault:
        thread = threading.Thread(target=vault.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield vault
        vault.shutdown()
        thread.join()


@pytest.fixture
def secrets(certificate: Path) -> AzureSecrets:
    # A vault's challenge must name Azure's domain; this one is on this machine.
    return AzureSecrets(Identity(), connection_verify=str(certificate), verify_challenge_resource=False)


async def test_current_version_is_read_unless_one_is_named(vault: KeyVault, secrets: AzureSecrets) -> None:
    vault.held = {"/secrets/wordup": "schlüssel", "/secrets/wordup/1": "old"}
    assert await secrets.read(f"{vault.url}/secrets/wordup") == "schlüssel"
    assert await secrets.read(f"{vault.url}/secrets/wordup/1") == "old"


@pytest.mark.parametrize(
    ("status", "mend"), [(404, "Create the secret"), (403, "Key Vault Secrets User"), (400, "documentation")]
)
async def test_refusal_says_what_mends_it(vault: KeyVault, secrets: AzureSecrets, status: int, mend: str) -> None:
    vault.held["/secrets/wordup"] = status
    with pytest.raises(SecretUnavailable) as unavailable:
        await secrets.read(f"{vault.url}/secrets/wordup")
    assert mend in unavailable.value.mend


async def test_vault_that_is_not_there_cannot_be_called(vault: KeyVault, secrets: AzureSecrets) -> None:
    vault.server_close()
    with pytest.raises(SecretUnavailable, match="cannot be called"):
        await secrets.read(f"{vault.url}/secrets/wordup")


@pytest.mark.parametrize(
    "name", ["wordup", "http://v.vault.azure.net/secrets/a", "https://v.vault.azure.net/keys/a", "https://v/secrets/"]
)
async def test_what_is_no_secret_of_a_vault_is_refused(secrets: AzureSecrets, name: str) -> None:
    with pytest.raises(SecretUnavailable, match="no secret of a key vault"):
        await secrets.read(name)
