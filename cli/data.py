"""`wordup data`: everything that a store holds, to a file and from one: a backup, or a move to another database."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cli import archive, console
from cli.archive import Header
from cli.deploy import AsJSON, WithName
from cli.places import PLACES, To, known, on_store
from cli.restore import Imported, Restore
from cli.steps import Steps
from wordup.config import Settings
from wordup.errors import RowTooLarge
from wordup.stores.base import Store

From = Annotated[
    str,
    typer.Option(
        "--from", callback=known, metavar="|".join(PLACES), help="Whose: the self-hosted home's, or a deployment's."
    ),
]

app = typer.Typer(help="What is stored, to a file and from one.", no_args_is_help=True)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="A file that is not there yet.")],
    from_: From = "home",
    deployment: WithName = None,
    as_json: AsJSON = False,
) -> None:
    """Write everything that is stored to a file. The keys that sign sessions and the provider's key are not stored."""

    async def run(store: Store, _: Settings) -> Header:
        return await archive.write(store, file, now=time.time(), told=_rows(report))

    with Steps(console.progress) as report:
        report.step(f"Exporting to {file}")
        header = on_store(from_, deployment, run)
    if as_json:
        console.document(header)
    else:
        console.screen.print(f"{header.rows} rows in {file}. It has what people said: keep it as such.", markup=False)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="What `wordup data export` wrote.")],
    to: To = "home",
    deployment: WithName = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the file's content for a row that is there with another.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Put the rows of a file into a store, those that are not there yet. To repeat it does no harm."""

    async def run(store: Store, _: Settings) -> Imported:
        return await Restore(store, now=time.time(), replace=replace).run(file, _rows(report))

    with Steps(console.progress) as report:
        report.step(f"Verifying {file}")
        header = archive.verified(file)
        report.step(f"Importing {header.rows} rows")
        done = on_store(to, deployment, run)
    if as_json:
        console.document(done)
    else:
        _show(done)
    if done.too_large:
        raise RowTooLarge(
            f"{len(done.too_large)} rows are larger than this database takes: {', '.join(done.too_large)}.",
            mend="All the others were imported. docs/data-model.md says how much each database takes.",
        )


def _show(done: Imported) -> None:
    console.screen.print(f"{done.written} of {done.rows} rows written, {done.there} were there already.")
    told = {
        "were there with another content, which stayed; --replace takes the file's": done.kept,
        "have expired since the export": done.expired,
        "are of people who were erased": done.erased,
    }
    for what, count in told.items():
        if count:
            console.screen.print(f"{count} {what}.")


def _rows(report: Steps) -> Callable[[int], None]:
    return lambda count: report.detail(f"{count} rows")
