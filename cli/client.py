"""Talks to a deployed bot as its own page does: a session for an access key, answers as server-sent events. Where
sessions are an issuer's, the access key itself is sent.

WordUpError
 |- Unreachable      nobody answers there, or the connection was lost more often than we retry
 `- Refused          the bot said no: its own code, sentence and mend, from its problem document
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from wordup.errors import ConfigurationError, WordUpError
from wordup.schemas import Problem

CONNECT_SECONDS = 10.0
# Above the longest streamed answer: where a platform buffers, nothing comes before the end.
READ_SECONDS = 150.0
RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0)

Data = dict[str, Any]


class Unreachable(WordUpError):
    code = "unreachable"


class Refused(WordUpError):
    """`retry_after` in seconds, where the bot said when to come again."""

    def __init__(self, code: str, sentence: str, mend: str, retry_after: float | None = None) -> None:
        super().__init__(sentence, mend=mend)
        self.code = code
        self.retry_after = retry_after


class Client:
    """One caller of the bot at `url`; without `key`, of a bot that asks for none. `admission` are headers for whoever
    stands before the bot."""

    def __init__(self, url: str, key: str | None, admission: Mapping[str, str] = MappingProxyType({})) -> None:
        split = urlsplit(url)
        if split.scheme not in ("http", "https") or not split.hostname:
            raise ConfigurationError("--url", f"{url!r} is no web address.", mend="It begins with http:// or https://.")
        self._url = url
        self._session = _Session(httpx2.URL(url.rstrip("/") + "/v1/sessions"), key, admission)
        self._http = httpx2.AsyncClient(
            base_url=url,
            auth=self._session,
            headers=admission,
            timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            # A proxy for the internet is not asked for what runs on this machine.
            trust_env=split.hostname not in ("127.0.0.1", "localhost", "::1"),
        )

    async def ask(self, message: str, conversation_id: str | None = None) -> AsyncGenerator[tuple[str, Data]]:
        """`start`, `delta`s, `done` of one turn. A lost connection is taken up again under the same Idempotency-Key;
        `start` and the answer then come again from their beginning. Raises Refused, Unreachable."""
        body: Data = {"message": message, "stream": True}
        if conversation_id is not None:
            body["conversation_id"] = conversation_id
        key = str(uuid.uuid4())
        waits = iter(RETRY_SECONDS)
        lost = False
        while True:
            try:
                async with contextlib.aclosing(self._events(body, key)) as events:
                    async for event in events:
                        yield event
                return
            except httpx2.TransportError as error:
                lost = self._session.is_open  # else nobody was there to begin with
                if not lost or (wait := next(waits, None)) is None:
                    raise self._unreachable(error) from error
            except Refused as error:
                # Our own request from before the loss may still be running there.
                if error.code != "conflict" or not lost or (wait := next(waits, None)) is None:
                    raise
                wait = error.retry_after or wait
            await asyncio.sleep(wait)

    async def stop(self, turn_id: str) -> None:
        """Ends a running answer; nothing is said where it has just ended, or cannot be reached."""
        with contextlib.suppress(httpx2.TransportError):
            await self._http.post(f"v1/turns/{turn_id}/stop")

    async def messages(self, conversation_id: str) -> list[Data]:
        """Every message of a conversation, in the order they were said. Raises Refused, Unreachable."""
        try:
            response = await self._http.get(f"v1/conversations/{conversation_id}/export")
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if response.is_error:
            raise _refusal(response)
        return response.json()["messages"]

    async def close(self) -> None:
        await self._http.aclose()

    async def _events(self, body: Data, key: str) -> AsyncGenerator[tuple[str, Data]]:
        headers = {"accept": "text/event-stream", "idempotency-key": key}
        async with self._http.stream("POST", "chat", json=body, headers=headers) as response:
            if response.is_error:
                await response.aread()
                raise _refusal(response)
            async for name, data in _decoded(response):
                if name in ("error", "blocked"):
                    raise Refused(data["code"], data["detail"], data["mend"])
                yield name, data
                if name == "done":
                    return
        raise httpx2.RemoteProtocolError("the stream ended before the answer did")

    def _unreachable(self, error: httpx2.TransportError) -> Unreachable:
        why = str(error) or type(error).__name__
        return Unreachable(
            f"{self._url} cannot be reached: {why}.", mend="Does it run there? `wordup serve` starts one."
        )


class _Session(httpx2.Auth):
    """Opens a session before the first request, and another one when that is over. Raises Refused."""

    def __init__(self, url: httpx2.URL, key: str | None, admission: Mapping[str, str]) -> None:
        self._url = url
        self._key = key
        self._admission = admission
        self._token: str | None = None

    @property
    def is_open(self) -> bool:
        return self._token is not None

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        for _ in range(2):
            if self._token is None:
                headers = {**self._admission, **({"x-api-key": self._key} if self._key else {})}
                opened = yield httpx2.Request("POST", self._url, json={}, headers=headers)
                await opened.aread()
                if self._key and opened.status_code == HTTPStatus.NOT_FOUND:
                    self._token = self._key
                elif opened.is_error:
                    raise _refusal(opened)
                else:
                    self._token = opened.json()["token"]
            request.headers["authorization"] = f"Bearer {self._token}"
            response = yield request
            if response.status_code != HTTPStatus.UNAUTHORIZED:
                return
            self._token = None


async def _decoded(response: httpx2.Response) -> AsyncIterator[tuple[str, Data]]:
    async for event in httpx2.EventSource(response):
        yield event.event, msgspec.json.decode(event.data, type=Data)


def _refusal(response: httpx2.Response) -> Refused:
    """From the problem document, or for whoever else answered there."""
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except msgspec.MsgspecError:
        sentence = f"{response.url} answered with status {response.status_code} and no explanation."
        return Refused("unexpected_answer", sentence, "Check the address: is it the bot's own?")
    if problem.code == "missing_token":
        return Refused(problem.code, "The bot asks for an access key.", "Give --key, or set WORDUP_ACCESS_KEY.")
    after = response.headers.get("retry-after", "")
    return Refused(problem.code, problem.detail, problem.mend, float(after) if after.isdecimal() else None)
