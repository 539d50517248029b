"""The inference server by itself, on Cloud Run or your own machine; and the HTTP of every platform that speaks it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING

import msgspec

from wordup.endpoints import wire
from wordup.endpoints.base import Classification, Classify, Generate, Media, Step
from wordup.errors import EndpointBusy, EndpointError, EndpointTimeout

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

Authorization = Callable[[], Awaitable[str]]
# A connection that is not there after this long is not coming; a cold container still accepts it.
CONNECT_SECONDS = 10.0


async def unauthorized() -> str:
    return ""


class HTTPEndpoint:
    """`url` takes a request by POST. `authorization` gives the header's whole value, "" for none, before each call."""

    def __init__(self, url: str, authorization: Authorization = unauthorized, *, timeout: float = 300.0) -> None:
        self._url, self._authorization, self._timeout = url, authorization, timeout
        self._client: AsyncClient | None = None

    async def generate(self, request: Generate) -> AsyncGenerator[Step | Media]:
        async with aclosing(self.stream(self._url, msgspec.json.encode(request))) as steps:
            async for step in steps:
                yield step

    async def classify(self, request: Classify) -> Classification:
        return wire.classification(await self.post(self._url, msgspec.json.encode(request)))

    async def stream(self, url: str, body: bytes) -> AsyncGenerator[Step | Media]:
        """The events that answer `body`."""
        headers = await self._headers(wire.EVENTS)
        with _http_errors():
            async with self._connected().stream("POST", url, content=body, headers=headers) as response:
                if response.status_code != 200:
                    raise _failure(response, await response.aread())
                async with aclosing(wire.events(response.aiter_bytes(), self._timeout)) as steps:
                    async for step in steps:
                        yield step

    async def post(self, url: str, body: bytes) -> bytes:
        """The body that answers `body`."""
        with _http_errors():
            # The client's own time-out is for each read.
            async with asyncio.timeout(self._timeout):
                response = await self._connected().post(url, content=body, headers=await self._headers(wire.JSON))
        if response.status_code != 200:
            raise _failure(response, response.content)
        return response.content

    async def close(self) -> None:
        if self._client:
            await self._client.aclose()

    async def _headers(self, accept: str) -> dict[str, str]:
        authorization = await self._authorization()
        headers = {"Content-Type": wire.JSON, "Accept": accept}
        return {**headers, "Authorization": authorization} if authorization else headers

    def _connected(self) -> "AsyncClient":
        if not self._client:
            from httpx2 import AsyncClient, Timeout  # 0.1 s that a bot without media never pays

            self._client = AsyncClient(timeout=Timeout(self._timeout, connect=CONNECT_SECONDS), trust_env=False)
        return self._client


def _failure(response: "Response", body: bytes) -> Exception:
    # Azure ML answers for a container that refused: 424, with the container's own status in a header.
    status = response.headers.get("ms-azureml-model-error-statuscode", "")
    return wire.failure(
        int(status) if status.isdigit() else response.status_code, body, response.headers.get("retry-after", "")
    )


@contextmanager
def _http_errors() -> Generator[None]:
    import httpx2

    try:
        yield
    except httpx2.ConnectError as error:
        raise EndpointBusy("The media endpoint cannot be reached.") from error
    except (httpx2.TimeoutException, TimeoutError) as error:
        raise EndpointTimeout() from error
    except httpx2.TransportError as error:
        raise EndpointError() from error
