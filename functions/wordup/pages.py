"""The files of `web/`, from memory: the page, its modules, its style."""

import gzip
import hashlib
import mimetypes
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

WEB = Path(__file__).parent.parent / "web"
INDEX = "index.html"
# No inline script, nothing from elsewhere: what a model writes into the page cannot run or call home. Only the
# sanitiser makes HTML of text.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {connect};"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types dompurify"
)
GZIP_LEVEL = 6


class _File(msgspec.Struct, frozen=True):
    content: bytes
    packed: bytes
    media_type: str
    etag: str


Origins = Callable[[], Awaitable[list[str]]]


def routes(origins: Origins, folder: Path = WEB) -> list[Route]:
    """One route a file; an `index.html` answers for its folder, other `.html` files also without their ending.
    `origins` tells whom a page may call beside the bot."""
    found: list[Route] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        address = "/" + path.relative_to(folder).as_posix().removesuffix(INDEX).removesuffix(".html")
        found.append(Route(address, _Serve(path, origins)))
    return found


class _Serve:
    """Reads its file once, at the first request: a cold start pays for what it serves."""

    def __init__(self, path: Path, origins: Origins) -> None:
        self._path = path
        self._origins = origins
        self._file: _File | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        file = self._file = self._file or _read(self._path)
        policy = POLICY.format(connect=" ".join(["'self'", *await self._origins()]))
        headers = {
            "etag": file.etag,
            "cache-control": "no-cache",
            "content-security-policy": policy,
            "vary": "Accept-Encoding",
        }
        asked = Request(scope).headers
        if asked.get("if-none-match") == file.etag:
            response = Response(status_code=304, headers=headers)
        elif "gzip" in asked.get("accept-encoding", ""):
            response = Response(file.packed, headers=headers | {"content-encoding": "gzip"}, media_type=file.media_type)
        else:
            response = Response(file.content, headers=headers, media_type=file.media_type)
        await response(scope, receive, send)


def _read(path: Path) -> _File:
    content = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    etag = f'W/"{hashlib.sha256(content).hexdigest()[:16]}"'  # weak: the same for both encodings
    return _File(content, gzip.compress(content, GZIP_LEVEL, mtime=0), media_type, etag)
