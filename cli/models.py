"""`wordup models`: the catalogue, with the prices that budgets count by."""

from typing import Annotated, Any

import typer
from rich.table import Table

from cli import console, home
from wordup import schemas
from wordup.errors import UnknownModel
from wordup.models import Catalogue, Model, Price


def models(as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False) -> None:
    """Every model that the bot knows: price, size, shutdown date, source."""
    catalogue = Catalogue.load(home.settings().model_prices)
    found = [_described(catalogue, model) for model in catalogue]
    if as_json:
        console.document(found)
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for heading in ("input", "output", "context"):
        table.add_column(heading, justify="right")
    table.add_column("shutdown")
    table.add_column("successor")
    for each in found:
        table.add_row(
            each["id"],
            each["input_usd_per_million"] or "-",
            each["output_usd_per_million"] or "-",
            f"{each['context_tokens']:,}" if each["context_tokens"] else "-",
            str(each["shutdown"] or "-"),
            each["successor"] or "-",
            style="dim" if each["retired"] else None,
        )
    console.screen.print(table)
    console.screen.print("\nUS dollars per million tokens, as read in:", style="dim")
    for source, checked in dict.fromkeys((each["source"], each["checked"]) for each in found if not each["retired"]):
        console.screen.print(f"{source} ({checked})", style="dim", soft_wrap=True)


def _described(catalogue: Catalogue, model: Model) -> dict[str, Any]:
    price = _price(catalogue, model)
    return {
        "id": model.id,
        "provider": model.provider,
        "input_usd_per_million": schemas.usd(price.input) if price else None,
        "output_usd_per_million": schemas.usd(price.output) if price else None,
        "context_tokens": model.context_tokens,
        "max_output_tokens": model.max_output_tokens,
        "shutdown": model.shutdown,
        "successor": model.successor,
        "retired": catalogue.retired(model),
        "source": price.source if price else model.source,
        "checked": price.checked if price else model.checked,
    }


def _price(catalogue: Catalogue, model: Model) -> Price | None:
    try:
        return catalogue.price(model)
    except UnknownModel:
        return None
