"""Azure Functions without its host: drives the real worker library, azure-functions-runtime, as the host does.

    python azure_host.py APP_FOLDER PORT

It needs the packages of the app, and that library, which is the platform's. The host's messages are gRPC's; the
library only reads their attributes, so plain objects with the same names do. Like the host it indexes the app, loads
every function, sends each request that matches a route to the worker's own HTTP server under an invocation's id, and
calls the invocation beside it. Like the host it does not tell the worker that a caller left. A POST to
/admin/functions/<name> fires a timer, as the host's own administration does.
"""

import asyncio
import json
import os
import re
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import azure_functions_runtime as runtime  # pyright: ignore[reportMissingTypeStubs] - the worker's
import uvicorn
from starlette.types import Receive, Scope, Send
from yarl import URL

CHUNK_BYTES = 65_536
KINDS = ("string", "json", "bytes", "http")
BY_THE_PROXY = {b"connection", b"transfer-encoding", b"keep-alive", b"date", b"server"}


class Message(SimpleNamespace):
    def WhichOneof(self, _: str) -> str | None:  # noqa: N802 - protobuf's name
        return "data" if hasattr(self, "data") else next((kind for kind in KINDS if hasattr(self, kind)), None)


class Protos:
    """Any message of the host's protocol, by its name."""

    class StatusResult(Message):
        Failure, Success = 0, 1

    class BindingInfo(Message):
        undefined, string = 0, 1
        inout, out = 2, 1

    def __getattr__(self, name: str) -> type[Message]:
        return type(name, (Message,), {})


setattr(Protos.BindingInfo, "in", 0)


class Host:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        settings = json.loads((folder / "host.json").read_text())
        self._prefix = settings.get("extensions", {}).get("http", {}).get("routePrefix", "api")
        self._functions: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._worker = ""

    async def start(self) -> None:
        runtime.start_threadpool_executor()
        told = await self._call(runtime.worker_init_request, capabilities={}, function_app_directory=str(self._folder))
        if told.result.status != Protos.StatusResult.Success:
            raise RuntimeError(f"{told.result.exception.message}\n{told.result.exception.stack_trace}")
        self._worker = told.capabilities["HttpUri"]
        found = await self._call(runtime.functions_metadata_request, function_app_directory=str(self._folder))
        for function in found.function_metadata_results:
            await self._call(runtime.function_load_request, function_id=function.function_id, metadata=function)
            bindings = [json.loads(binding) for binding in function.raw_bindings]
            trigger = next(binding for binding in bindings if binding["type"].lower().endswith("trigger"))
            self._functions[function.name] = function, trigger
        print({name: trigger for name, (_, trigger) in self._functions.items()}, flush=True)

    async def _call(self, handle: Any, **fields: Any) -> Any:
        kind = handle.__name__
        request = Message(**{kind: Message(**fields)})
        return await handle(Message(request=request, properties={"host": "127.0.0.1", "protos": Protos()}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        timer = re.fullmatch(r"/admin/functions/(\w+)", scope["path"])
        if timer:
            await self._fire(timer[1])
            await answer(send, 202)
        elif name := self._match(scope["method"], scope["path"]):
            await self._serve(name, scope, body, send)
        else:
            await answer(send, 404)

    def _match(self, method: str, path: str) -> str | None:
        for name, (_, trigger) in self._functions.items():
            if trigger["type"] != "httpTrigger":
                continue
            route = re.sub(
                r"\\\{\\\*\w+\\\}", ".*", re.escape("/".join(filter(None, ["", self._prefix, trigger["route"]])))
            )
            allowed = [each.upper() for each in trigger.get("methods") or [method]]
            if re.fullmatch(f"/?{route}", path, re.DOTALL) and method in allowed:
                return name
        return None

    async def _serve(self, name: str, scope: Scope, body: bytes, send: Send) -> None:
        invocation = str(uuid.uuid4())
        query = scope["query_string"].decode()
        url = URL(f"{self._worker}{scope['raw_path'].decode()}{'?' if query else ''}{query}", encoded=True)
        headers = [(key.decode(), value.decode()) for key, value in scope["headers"] if key != b"content-length"]
        headers.append(("x-ms-invocation-id", invocation))
        empty = Message(bytes=b"")
        http = Message(method=scope["method"], url=str(url), headers={}, body=empty, params={}, query={})
        invoked = asyncio.create_task(self._invoke(name, invocation, Message(http=http)))
        timeout = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.request(scope["method"], url, headers=headers, data=body, allow_redirects=False) as response,
        ):
            if not invoked.done():  # the host would wait for it until it times out
                raise RuntimeError(f"the worker's server answered {scope['path']} without the function")
            passed = [(key.lower(), value) for key, value in response.raw_headers if key.lower() not in BY_THE_PROXY]
            await send({"type": "http.response.start", "status": response.status, "headers": passed})
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body"})
        await invoked

    async def _fire(self, name: str) -> None:
        timer = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False}
        await self._invoke(name, str(uuid.uuid4()), Message(json=json.dumps(timer)))

    async def _invoke(self, name: str, invocation: str, data: Message) -> None:
        function, trigger = self._functions[name]
        told = await self._call(
            runtime.invocation_request,
            invocation_id=invocation,
            function_id=function.function_id,
            input_data=[Message(name=trigger["name"], data=data)],
            trigger_metadata={},
            trace_context=Message(trace_parent="", trace_state="", attributes={}),
            retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
        )
        if told.result.status != Protos.StatusResult.Success:
            print(told.result.exception.message, told.result.exception.stack_trace, file=sys.stderr, flush=True)


async def answer(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


async def main(folder: Path, port: int) -> None:
    os.chdir(folder)
    sys.path.append(str(folder))
    host = Host(folder)
    await host.start()
    config = uvicorn.Config(host, port=port, log_level="warning", lifespan="off")
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
