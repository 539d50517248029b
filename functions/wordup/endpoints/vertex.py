"""Vertex AI: a dedicated endpoint, whose streamRawPredict passes requests and events on unchanged.

Shared endpoints take 1.5 MB and a minute and stream nothing (cloud.google.com, "Choose an endpoint type").
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from wordup.endpoints import wire
from wordup.endpoints.base import Classification, Classify, Generate, Media, Step
from wordup.endpoints.http import Authorization, HTTPEndpoint
from wordup.errors import EndpointError, EndpointRefused

SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class _Predictions(msgspec.Struct):
    predictions: list[msgspec.Raw]


class VertexEndpoint:
    """`url` is the endpoint's own: `https://<dedicated DNS name>/v1/projects/P/locations/L/endpoints/ID`.

    `authorization` gives the Authorization header; by default the role's own token.
    """

    def __init__(self, url: str, authorization: Authorization | None = None, *, timeout: float = 300.0) -> None:
        self._url = url
        self._http = HTTPEndpoint(url, authorization or GoogleToken(), timeout=timeout)

    async def generate(self, request: Generate) -> AsyncGenerator[Step | Media]:
        body = msgspec.json.encode(request)
        async with aclosing(self._http.stream(f"{self._url}:streamRawPredict", body)) as steps:
            async for step in steps:
                yield step

    async def classify(self, request: Classify) -> Classification:
        answer = await self._http.post(f"{self._url}:predict", msgspec.json.encode({"instances": [request]}))
        try:
            (prediction,) = msgspec.json.decode(answer, type=_Predictions).predictions
        except (msgspec.DecodeError, ValueError) as error:
            raise EndpointError() from error
        return wire.classification(bytes(prediction))

    async def close(self) -> None:
        await self._http.close()


class GoogleToken:
    """The role's token from the metadata service or the developer's own, kept until it expires."""

    def __init__(self) -> None:
        self._credentials: Any = None

    async def __call__(self) -> str:
        return await asyncio.to_thread(self._refreshed)

    def _refreshed(self) -> str:
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request

        auth: Any = google.auth  # it ships no types
        try:
            if not self._credentials:
                self._credentials, _ = auth.default(scopes=[SCOPE])
            if not self._credentials.valid:
                self._credentials.refresh(Request())
        except GoogleAuthError as error:
            raise EndpointRefused("Google gives no token for the media endpoint.") from error
        return f"Bearer {self._credentials.token}"
