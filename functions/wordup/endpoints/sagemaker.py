"""SageMaker: a real-time endpoint through botocore, whose calls block and so run in threads."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from typing import Any

import msgspec

from wordup.endpoints import wire
from wordup.endpoints.base import Classification, Classify, Generate, Media, Step
from wordup.errors import EndpointBusy, EndpointError, EndpointRefused, EndpointTimeout, WordUpError

THREADS = 8
CONNECT_SECONDS = 10.0
# What InvokeEndpoint fails with, by code (botocore's service model of sagemaker-runtime); the others are ours to mend.
_CODES: dict[str, type[EndpointError]] = {
    "ThrottlingException": EndpointBusy,
    "ServiceUnavailable": EndpointBusy,
    "ModelNotReadyException": EndpointBusy,
    "InternalFailure": EndpointError,
    "InternalDependencyException": EndpointError,
    "InternalStreamFailure": EndpointError,
    "ModelStreamError": EndpointError,
}


class SageMakerEndpoint:
    """`name` is the endpoint's. `url` stands in for the region's own address; empty is AWS, in `region` or where the
    environment says. SageMaker itself ends a whole answer after 60 s and a streamed one after 8 minutes."""

    def __init__(self, name: str, url: str = "", *, region: str = "", timeout: float = 480.0) -> None:
        self._name, self._url, self._region, self._timeout = name, url, region, timeout
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sagemaker")
        self._client: Any = None

    async def generate(self, request: Generate) -> AsyncGenerator[Step | Media]:
        async with aclosing(wire.events(self._parts(msgspec.json.encode(request)), self._timeout)) as steps:
            async for step in steps:
                yield step

    async def classify(self, request: Classify) -> Classification:
        return wire.classification(await self._in_thread(self._invoke, msgspec.json.encode(request)))

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client:
            self._client.close()

    async def _parts(self, body: bytes) -> AsyncGenerator[bytes]:
        stream = await self._in_thread(self._open, body)
        try:
            parts = iter(stream)
            while part := await self._in_thread(next, parts, None):
                yield part["PayloadPart"]["Bytes"]
        finally:
            stream.close()

    async def _in_thread(self, call: Any, *arguments: Any) -> Any:
        with _botocore_errors():
            return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)

    def _invoke(self, body: bytes) -> bytes:
        answer = self._connected().invoke_endpoint(
            EndpointName=self._name, ContentType=wire.JSON, Accept=wire.JSON, Body=body
        )
        return answer["Body"].read()

    def _open(self, body: bytes) -> Any:
        answer = self._connected().invoke_endpoint_with_response_stream(
            EndpointName=self._name, ContentType=wire.JSON, Accept=wire.EVENTS, Body=body
        )
        return answer["Body"]

    def _connected(self) -> Any:
        if not self._client:
            from botocore.config import Config

            from wordup.aws_session import new_session

            # A drawing that was sent twice is paid twice.
            config = Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=self._timeout,
                retries={"total_max_attempts": 1},
                max_pool_connections=THREADS,
            )
            self._client = new_session().create_client(
                "sagemaker-runtime", self._region or None, endpoint_url=self._url or None, config=config
            )
        return self._client


@contextmanager
def _botocore_errors() -> Generator[None]:
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        raise _failure(error.response) from error
    except exceptions.ReadTimeoutError as error:
        raise EndpointTimeout() from error
    except (exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError) as error:
        raise EndpointBusy("The media endpoint cannot be reached.") from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.NoRegionError) as error:
        raise EndpointRefused("AWS knows neither who asks nor where.") from error
    except exceptions.BotoCoreError as error:
        raise EndpointError() from error


def _failure(response: Any) -> WordUpError:
    """ModelError carries what the container answered; every other code is SageMaker's own."""
    code = response["Error"]["Code"]
    if code == "ModelError":
        return wire.failure(
            int(response.get("OriginalStatusCode", 500)), str(response.get("OriginalMessage", "")).encode()
        )
    return _CODES.get(code, EndpointRefused)()
