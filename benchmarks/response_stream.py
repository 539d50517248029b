"""A streamed answer as Lambda's Runtime API and API Gateway take it, read strictly.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming and
https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html, compared with what
aws-lambda-rust-runtime and aws-lambda-nodejs-runtime-interface-client send.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from io import BufferedIOBase
from typing import Any, cast

MODE_HEADER = "Lambda-Runtime-Function-Response-Mode"
CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
FAULT_TYPE, FAULT_BODY = "lambda-runtime-function-error-type", "lambda-runtime-function-error-body"
DELIMITER = bytes(8)
PRELUDE_BYTES = 16_384  # API Gateway looks for the delimiter no further
PRELUDE_KEYS = {"statusCode", "headers", "multiValueHeaders", "cookies"}


class ProtocolViolation(Exception):
    """The text says what the Runtime API, or API Gateway behind it, would not have taken."""


class Reader:
    """One POST's body. `prelude`, then `pieces` to their end, then `fault`."""

    def __init__(self, headers: Mapping[str, str], body: BufferedIOBase) -> None:
        headers = {name.lower(): value for name, value in headers.items()}
        if headers.get("transfer-encoding", "").lower() != "chunked":
            raise ProtocolViolation("a stream that is not chunked")
        if headers.get("content-type") != CONTENT_TYPE:
            raise ProtocolViolation(f"a stream of type {headers.get('content-type')}")
        self._declared = {name.strip().lower() for name in headers.get("trailer", "").split(",") if name.strip()}
        self._body = body
        self._chunks = self._read()
        self._rest = b""
        self._trailers: dict[str, str] = {}

    def prelude(self) -> bytes:
        """Waits for the delimiter."""
        begun = b""
        while DELIMITER not in begun:
            if len(begun) > PRELUDE_BYTES or (chunk := next(self._chunks, None)) is None:
                raise ProtocolViolation("a stream without its delimiter")
            begun += chunk
        prelude, _, self._rest = begun.partition(DELIMITER)
        head(prelude)
        return prelude

    def pieces(self) -> Iterator[bytes]:
        if self._rest:
            yield self._rest
        yield from self._chunks

    def fault(self) -> bytes | None:
        """What went wrong after the first byte."""
        if strange := set(self._trailers) - self._declared:
            raise ProtocolViolation(f"trailers that were not announced: {strange}")
        if not self._trailers:
            return None
        try:
            body = fault(base64.b64decode(self._trailers[FAULT_BODY], validate=True))
        except (KeyError, binascii.Error) as error:
            raise ProtocolViolation("an error without its body in base64") from error
        if json.loads(body)["errorType"] != self._trailers.get(FAULT_TYPE):
            raise ProtocolViolation("two types of one error")
        return body

    def _read(self) -> Iterator[bytes]:
        while size := self._size():
            data = self._body.read(size)
            if len(data) < size or self._body.read(2) != b"\r\n":
                raise ProtocolViolation("a chunk that breaks off")
            yield data
        while line := self._line():
            name, _, value = line.partition(":")
            self._trailers[name.strip().lower()] = value.strip()

    def _size(self) -> int:
        line = self._line()
        if not re.fullmatch("[0-9a-fA-F]{1,8}", line):
            raise ProtocolViolation("a chunk without its size")
        return int(line, 16)

    def _line(self) -> str:
        line = self._body.readline()
        if not line.endswith(b"\r\n"):
            raise ProtocolViolation("a stream that breaks off")
        return line[:-2].decode("latin-1")


def head(prelude: bytes) -> tuple[int, list[tuple[str, str]]]:
    """The status and the headers, cookies among them."""
    try:
        told: Any = json.loads(prelude)
        status = told["statusCode"]
        strange = set(told) - PRELUDE_KEYS
        headers = [*cast("dict[str, str]", told.get("headers", {})).items()]
        for name, values in cast("dict[str, list[str]]", told.get("multiValueHeaders", {})).items():
            headers += [(name, value) for value in values]
        headers += [("set-cookie", cookie) for cookie in told.get("cookies", [])]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ProtocolViolation(f"a prelude that cannot be read: {prelude[:200]!r}") from error
    if strange or not isinstance(status, int) or not 100 <= status <= 599:
        raise ProtocolViolation(f"a prelude with strange keys or no status: {prelude[:200]!r}")
    if not all(isinstance(value, str) for _, value in headers):
        raise ProtocolViolation("a header that is no text")
    return status, headers


def fault(body: bytes) -> bytes:
    """An error as the Runtime API takes it; the same bytes."""
    try:
        told: Any = json.loads(body)
        whole = isinstance(told["errorType"], str) and isinstance(told["errorMessage"], str)
    except (ValueError, TypeError, KeyError) as error:
        raise ProtocolViolation(f"an error that cannot be read: {body[:200]!r}") from error
    if not whole:
        raise ProtocolViolation("an error without its type and message")
    return body
