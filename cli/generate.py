"""`wordup generate`: a prompt to a file, by a GPU endpoint."""

import asyncio
import time
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli import console
from infra import endpoints, spec
from wordup.bootstrap import ENDPOINTS, adapter
from wordup.endpoints.base import Endpoint, Generate, Media, Step
from wordup.errors import EndpointError

# What the server can make, by the ending of the file's name.
FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".mp4": None}

Task = Literal["text2img", "img2img", "inpaint", "text2video"]


def generate(
    prompt: Annotated[str, typer.Argument(help="What to draw or film.")],
    out: Annotated[Path, typer.Option(help="The file: .png, .jpg, .webp, or .mp4 for a video.")],
    endpoint: Annotated[
        str | None, typer.Option(help="The NAME of [inference.NAME] in wordup.toml.", show_default=False)
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="An inference server's address, instead of --endpoint.", show_default=False)
    ] = None,
    negative: Annotated[str, typer.Option(help="What not to draw.", show_default=False)] = "",
    image: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A picture to begin with.")] = None,
    mask: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="White is made anew.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="In pixels.")] = None,
    height: Annotated[int | None, typer.Option(min=1, help="In pixels.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="More are slower, and finer.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same picture.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Of a video.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Write a picture or a video."""
    suffix = out.suffix.lower()
    if suffix not in FORMATS:
        raise typer.BadParameter(f"--out ends in {', '.join(FORMATS)}.")
    if (endpoint is None) == (url is None):
        raise typer.BadParameter("Name either --endpoint or --url.")
    if mask and not image:
        raise typer.BadParameter("--mask needs --image.")
    if out.exists() and not force:
        raise typer.BadParameter(f"{out} is there already; --force replaces it.")
    request = Generate(
        task=_task(suffix, image, mask),
        prompt=prompt,
        negative_prompt=negative,
        width=width,
        height=height,
        steps=steps,
        seed=seed,
        frames=frames,
        image=image.read_bytes() if image else None,
        mask=mask.read_bytes() if mask else None,
        format=cast(Any, FORMATS[suffix]),
    )
    began = time.monotonic()
    media = asyncio.run(_generated(*_reached(endpoint, url), request))
    _write(out, media.data)
    seconds = round(time.monotonic() - began, 1)
    if as_json:
        facts = {k: v for k, v in msgspec.structs.asdict(media).items() if k not in ("data", "output_uri")}
        console.document({"path": str(out), **facts, "seconds": seconds})
    else:
        console.screen.print(f"{out}: {media.width} x {media.height}, seed {media.seed}, {seconds} s", soft_wrap=True)


def _task(suffix: str, image: Path | None, mask: Path | None) -> Task:
    if suffix == ".mp4":
        return "text2video"
    return "inpaint" if mask else "img2img" if image else "text2img"


def _reached(endpoint: str | None, url: str | None) -> tuple[str, Any]:
    if url:
        return "http", {"url": url.rstrip("/") + "/invocations"}
    assert endpoint
    return endpoints.find(spec.load(), endpoint)


async def _generated(kind: str, arguments: Any, request: Generate) -> Media:
    opened: Endpoint = adapter(ENDPOINTS, kind, "--endpoint")(**arguments)
    try:
        with _bar() as bar:
            task = bar.add_task("waiting", total=None)
            async with aclosing(opened.generate(request)) as events:
                async for event in events:
                    if isinstance(event, Media):
                        return event
                    bar.update(task, description="drawing", completed=event.step, total=event.steps)
                    _tell(bar, event)
        raise EndpointError
    finally:
        await opened.close()


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:g}"), TimeElapsedColumn())
    return Progress(*columns, console=console.progress, disable=not console.progress.is_terminal, transient=True)


def _tell(bar: Progress, step: Step) -> None:
    """Where no bar can move, a line at every tenth of the way."""
    if bar.disable and (step.step * 10 // step.steps) > ((step.step - 1) * 10 // step.steps):
        console.progress.print(f"step {step.step} of {step.steps}")


def _write(out: Path, data: bytes) -> None:
    """Whole or not at all."""
    part = out.with_name(f".{out.name}.part")
    part.write_bytes(data)
    part.replace(out)
