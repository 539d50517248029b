"""Object storage by address: s3://bucket/key, gs://bucket/key, az://container/key.

The only way this server reaches anything by a caller's address, and it reaches only what the operator listed: there
is no HTTP fetch and no file access, so neither a metadata service, a private address nor the disk can be named.
Credentials come from the vendor's own chain (role, workload identity), never from a request.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from serving.config import split
from serving.errors import ForbiddenURI, ObjectUnavailable

# Bucket and container names (S3, Cloud Storage, Blob Storage naming rules, their common part) and a key without
# query, fragment, backslash, percent, space or control characters.
_ADDRESS = re.compile(r"(s3|gs|az)://([a-z0-9][a-z0-9._-]{1,61}[a-z0-9])/([A-Za-z0-9!_.*'()/=+,@~:-]{1,1024})")
_STORES = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
_SENTENCES: dict[type[Exception], str] = {
    FileNotFoundError: "There is no such object.",
    exceptions.PermissionDeniedError: "The server's role may not use this object.",
    exceptions.UnauthenticatedError: "The storage does not know the server's role.",
    exceptions.InvalidPathError: "The storage does not take this key.",
    exceptions.BaseError: "The storage did not answer.",
}

Store = S3Store | GCSStore | AzureStore


def is_address(text: str) -> bool:
    """Whether the text is meant as an address rather than base64, which has no colon."""
    return ":" in text


class Objects:
    """Reads below `readable` and writes below `writable`: comma-separated buckets or prefixes."""

    def __init__(self, readable: str, writable: str, max_bytes: int) -> None:
        self._readable = split(readable)
        self._writable = split(writable)
        self._max_bytes = max_bytes
        self._stores: dict[str, Store] = {}

    def read(self, address: str, pointer: str) -> bytes:
        """The object's bytes. Raises ForbiddenURI, ObjectUnavailable; a larger object's bytes are never fetched."""
        store, key = self._find(address, self._readable, pointer)
        with _storage_errors(pointer):
            found = obstore.get(store, key)
            if found.meta["size"] > self._max_bytes:
                raise ObjectUnavailable(pointer, f"The object is larger than {self._max_bytes} bytes.")
            return found.bytes().to_bytes()

    def write(self, address: str, data: bytes, media_type: str, pointer: str) -> None:
        """Puts the bytes there, over what was there. Raises ForbiddenURI, ObjectUnavailable."""
        store, key = self._find(address, self._writable, pointer)
        with _storage_errors(pointer):
            obstore.put(store, key, data, attributes={"Content-Type": media_type})

    def check_writable(self, address: str, pointer: str) -> None:
        """Raises ForbiddenURI before any work is done for a result that could not be stored."""
        self._allowed(address, self._writable, pointer)

    def _find(self, address: str, allowed: tuple[str, ...], pointer: str) -> tuple[Store, str]:
        scheme, bucket, key = self._allowed(address, allowed, pointer)
        name = f"{scheme}://{bucket}"
        if name not in self._stores:
            self._stores[name] = open_bucket(scheme, bucket)
        return self._stores[name], key

    def _allowed(self, address: str, allowed: tuple[str, ...], pointer: str) -> tuple[str, str, str]:
        match = _ADDRESS.fullmatch(address)
        parts = address.split("/")
        if not match or ".." in parts or "." in parts or "" in parts[3:]:
            raise ForbiddenURI(pointer, "This is no object-storage address.", mend="Use s3://, gs:// or az://.")
        if not any(f"{address}/".startswith(f"{prefix.rstrip('/')}/") for prefix in allowed):
            raise ForbiddenURI(
                pointer, "This bucket or prefix is not allowed.", mend="Ask the operator which buckets are."
            )
        return match[1], match[2], match[3]


def open_bucket(scheme: str, bucket: str) -> Store:
    return _STORES[scheme](bucket)


@contextmanager
def _storage_errors(pointer: str) -> Generator[None]:
    try:
        yield
    except tuple(_SENTENCES) as error:
        sentence = next(text for kind, text in _SENTENCES.items() if isinstance(error, kind))
        raise ObjectUnavailable(pointer, sentence, mend="Check the address and the server's role.") from error
