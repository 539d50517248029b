"""Azure ML: a managed online endpoint, by its key or the role's token."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from wordup.endpoints.base import Classification, Classify, Generate, Media, Step
from wordup.endpoints.http import Authorization, HTTPEndpoint
from wordup.errors import EndpointRefused

SCOPE = "https://ml.azure.com/.default"
# A managed online endpoint ends every request after this long, whatever it is told (Azure ML, "Manage quotas").
MOST_SECONDS = 180.0


class AzureMLEndpoint:
    """`url` is the scoring URI. `key` is the endpoint's; empty: `authorization`, by default the role's own token."""

    def __init__(
        self, url: str, key: str = "", authorization: Authorization | None = None, *, timeout: float = MOST_SECONDS
    ) -> None:
        async def by_key() -> str:
            return f"Bearer {key}"

        chosen = by_key if key else authorization or AzureToken()
        self._http = HTTPEndpoint(url, chosen, timeout=min(timeout, MOST_SECONDS))

    async def generate(self, request: Generate) -> AsyncGenerator[Step | Media]:
        async with aclosing(self._http.generate(request)) as steps:
            async for step in steps:
                yield step

    async def classify(self, request: Classify) -> Classification:
        return await self._http.classify(request)

    async def close(self) -> None:
        await self._http.close()


class AzureToken:
    """The managed identity's token; the library keeps it until it expires."""

    def __init__(self) -> None:
        self._credential: Any = None

    async def __call__(self) -> str:
        from azure.core.exceptions import ClientAuthenticationError
        from azure.identity.aio import DefaultAzureCredential

        self._credential = self._credential or DefaultAzureCredential()
        try:
            return f"Bearer {(await self._credential.get_token(SCOPE)).token}"
        except ClientAuthenticationError as error:
            raise EndpointRefused("Azure gives no token for the media endpoint.") from error
