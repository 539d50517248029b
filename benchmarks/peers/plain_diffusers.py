"""The inference server's peer: plain diffusers in a handler, one request at a time behind a lock.

Started by uvicorn with the model's folder and the number of threads in the environment.
"""

# It runs in inference/.venv, which has what it imports; the type checker looks at the project's own.
# pyright: reportMissingImports=false

import asyncio
import base64
import io
import os

import torch
from diffusers import DiffusionPipeline
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

torch.set_num_threads(int(os.environ["PEER_THREADS"]))
# The type of weights and the device that the inference server takes.
device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
pipe = DiffusionPipeline.from_pretrained(
    os.environ["PEER_MODEL"], use_safetensors=True, local_files_only=True, dtype=dtype
).to(device)
pipe.set_progress_bar_config(disable=True)
lock = asyncio.Lock()


def draw(body: dict) -> str:
    image = pipe(
        body["prompt"],
        num_inference_steps=body["steps"],
        guidance_scale=body["guidance_scale"],
        width=body["width"],
        height=body["height"],
        generator=torch.Generator("cpu").manual_seed(body["seed"]),
    ).images[0]
    out = io.BytesIO()
    image.save(out, "png")
    return base64.b64encode(out.getvalue()).decode()


async def generate(request: Request) -> JSONResponse:
    body = await request.json()
    async with lock:
        return JSONResponse({"data": await asyncio.to_thread(draw, body)})


async def ping(_: Request) -> Response:
    return Response()


app = Starlette(routes=[Route("/invocations", generate, methods=["POST"]), Route("/ping", ping)])
