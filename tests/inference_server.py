"""The inference server itself, with tiny random models, as each platform runs it; and SageMaker's and Vertex AI's
fronts before it, which are AWS's and Google's and so must be played.

`inference/toolchain.py setup` makes its environment; without it the run fails.
"""

import json
import os
import socket
import struct
import subprocess
import time
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

INFERENCE = Path(__file__).parents[1] / "inference"
PYTHON = INFERENCE / ".venv" / "bin" / "python"
PREDICT = "/v1/endpoints/1:predict"
TOKEN = "correct-token"
SECONDS = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def inference_server(folder: Path, **environment: str) -> Generator[int]:
    """The port of a ready server that has every platform's routes and does every task; `environment` is added to its
    own."""
    if not PYTHON.exists():
        raise RuntimeError("inference/.venv is missing; make it: python3 inference/toolchain.py setup")
    made = subprocess.run(
        [PYTHON, "-m", "tests.tiny", folder], cwd=INFERENCE, check=True, capture_output=True, text=True
    )
    port = free_port()
    settings = {
        "INFERENCE_MODEL": made.stdout.strip(),
        "INFERENCE_PORT": str(port),
        "INFERENCE_PREDICT_ROUTE": PREDICT,
        "INFERENCE_DEFAULT_SIDE": "64",
        "INFERENCE_THREADS": "1",
        "INFERENCE_MAX_STEPS": "900",
        "INFERENCE_MAX_BATCH": "1",
        "INFERENCE_MAX_QUEUE": "1",
        "INFERENCE_TIMEOUT_SECONDS": "20",
        "INFERENCE_LOG_LEVEL": "WARNING",
    }
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = subprocess.Popen([PYTHON, "-m", "serving"], cwd=INFERENCE, env=inherited | settings | environment)
    try:
        deadline = time.monotonic() + SECONDS
        while not _ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the inference server did not become ready")
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait()


def _ready(port: int) -> bool:
    try:
        with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
    except OSError:
        return False


def metric(port: int, name: str) -> float:
    with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


class Front(BaseHTTPRequestHandler):
    """Passes requests on as the platform does. SageMaker wraps the container's refusals into ModelError and its stream
    into `application/vnd.amazon.eventstream`; Vertex AI and Azure ML want a bearer token and pass bodies on."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    port = 0

    def log_message(self, format: str, *args: object) -> None:
        """The test's output stays its own."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        route, sagemaker = self._route()
        if not route:
            self._answer(
                400, b'{"message":"Endpoint absent of account not found."}', {"x-amzn-errortype": "ValidationError"}
            )
            return
        if not sagemaker and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, b"key_auth_access_denied", {})
            return
        backend = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        accept = self.headers.get("X-Amzn-SageMaker-Accept") or self.headers.get("Accept", "")
        backend.request("POST", route, body, {"Content-Type": "application/json", "Accept": accept})
        answer = backend.getresponse()
        try:
            if answer.status == 200 and answer.getheader("Content-Type", "").startswith("text/event-stream"):
                self._stream(answer, framed=sagemaker)
            elif sagemaker and answer.status != 200:
                self._model_error(answer)
            else:
                self._answer(answer.status, answer.read(), _kept(answer))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            backend.close()

    def _route(self) -> tuple[str, bool]:
        parts = self.path.split("/")
        if parts[1] == "endpoints":
            return ("/invocations" if parts[2] == "pictures" else "", True)
        return ("/score" if self.path == "/score" else PREDICT, False)

    def _model_error(self, answer: HTTPResponse) -> None:
        body = json.dumps(
            {
                "Message": f"Received client error ({answer.status}) from primary",
                "OriginalMessage": answer.read().decode(),
                "OriginalStatusCode": answer.status,
                "LogStreamArn": "arn:aws:logs:us-east-1:000000000000:log-group:/aws/sagemaker/Endpoints/pictures",
            }
        )
        self._answer(424, body.encode(), {"x-amzn-errortype": "ModelError"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, answer: HTTPResponse, *, framed: bool) -> None:
        self.send_response(200)
        kind = "application/vnd.amazon.eventstream" if framed else "text/event-stream"
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in _parts(answer):
            chunk = _frame(part) if framed else part
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


def _kept(answer: HTTPResponse) -> dict[str, str]:
    return {name: value for name in ("Content-Type", "Retry-After") if (value := answer.getheader(name))}


def _parts(answer: HTTPResponse) -> Iterator[bytes]:
    while part := answer.read1(65536):
        yield part


def _frame(payload: bytes) -> bytes:
    """One PayloadPart (AWS event stream encoding: two lengths, their checksum, headers, payload, checksum)."""
    names = ((":message-type", "event"), (":event-type", "PayloadPart"), (":content-type", "application/octet-stream"))
    headers = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in names
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    framed = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return framed + struct.pack(">I", zlib.crc32(framed))


@contextmanager
def front(port: int) -> Generator[str]:
    """The URL of the platforms' front before the server on `port`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundFront", (Front,), {"port": port}))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
