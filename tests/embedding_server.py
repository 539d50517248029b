"""all-MiniLM-L6-v2 behind OpenAI's `/v1/embeddings`.

    .tools/model/bin/python -m tests.embedding_server

prints the server's address and serves until it is ended. `GET /texts` gives how many texts each request held.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.peers.minilm import MiniLM

MODEL = MiniLM()
ALONE = threading.Lock()
ASKED: list[int] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200, ASKED)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/v1/embeddings":
            self._answer(404, {"error": {"message": "no such path", "type": "not_found", "code": None}})
            return
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        with ALONE:
            ASKED.append(len(texts))
            vectors = MODEL.embed(texts).tolist()
        data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        usage = {"prompt_tokens": sum(MODEL.tokens(text) for text in texts)}
        self._answer(200, {"object": "list", "model": body["model"], "data": data, "usage": usage})

    def _answer(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Not on the tests' output."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
