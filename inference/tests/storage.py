"""An S3 that lives in this process, and a hub of models: real sockets, real protocols."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from moto.server import ThreadedMotoServer


@pytest.fixture(scope="module")
def s3() -> Iterator[None]:
    """Buckets `media` and `models`; the environment points this process's S3 clients at it."""
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ALLOW_HTTP", "true")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_REGION", "us-east-1")
        for bucket in ("media", "models"):
            httpx2.put(f"http://{host}:{port}/{bucket}", trust_env=False).raise_for_status()
        yield
    moto.stop()


@contextmanager
def hub(repository: str, revision: str, folder: Path) -> Iterator[str]:
    """A hub that holds one model. Yields its URL."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    commit = "0" * 40
    listing = {"id": repository, "sha": commit, "siblings": [{"rfilename": name} for name in files]}

    tree = [{"type": "file", "path": n, "oid": commit, "size": f.stat().st_size} for n, f in files.items()]

    class Hub(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """The test's output stays its own."""

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = self.path.split("?")[0]
            resolved = next((f for n, f in files.items() if path.endswith(f"/resolve/{commit}/{n}")), None)
            if path == f"/api/models/{repository}/revision/{revision}":
                body, status = json.dumps(listing).encode(), 200
            elif path == f"/api/models/{repository}/tree/{commit}":
                body, status = json.dumps(tree).encode(), 200
            elif resolved:
                body, status = resolved.read_bytes(), 200
            else:
                body, status = b"{}", 404
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hash(path) & 0xFFFFFFFF:x}"')
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
