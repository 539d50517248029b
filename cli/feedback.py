"""`wordup feedback`: what people think of the answers, from the thumbs, reasons and comments that they left."""

import heapq
import time
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from cli import console
from cli.answer import printable
from cli.deploy import AsJSON, WithName
from cli.places import To, on_store
from wordup import keys
from wordup.stores.base import Store
from wordup.turns import Feedback, Turn

PAGE = 200

app = typer.Typer(help="What people think of the answers.", no_args_is_help=True)


class Rated(msgspec.Struct, frozen=True, kw_only=True):
    """An answer's feedback. `created` is when the answer was given."""

    message_id: str
    created: str
    model: str
    rating: str
    reasons: list[str]
    comment: str


class Count(msgspec.Struct, kw_only=True):
    """`of` is a model, a reason or a day (UTC). `answers` counts those without feedback too."""

    of: str
    answers: int = 0
    up: int = 0
    down: int = 0

    def add(self, feedback: Feedback | None) -> None:
        self.answers += 1
        if feedback is not None:
            self.up += feedback.rating == "up"
            self.down += feedback.rating == "down"


class Report(msgspec.Struct, kw_only=True):
    """Of the answers given since a moment. `reasons` begin with the commonest, of answers that name them; `comments`
    are the newest, and so are `days`, those without an answer left out."""

    since: str
    answers: int
    up: int
    down: int
    models: list[Count]
    reasons: list[Count]
    days: list[Count]
    comments: list[Rated]


@app.command()
def report(
    days: Annotated[int, typer.Option(min=1, max=3650, help="Of answers given in so many days.")] = 30,
    comments: Annotated[int, typer.Option(min=0, max=1000, help="So many of the newest comments.")] = 20,
    to: To = "home",
    deployment: WithName = None,
    as_json: AsJSON = False,
) -> None:
    """Count thumbs by model, reason and day, and show the newest comments. Nobody's name is in it."""
    since = time.time() - days * keys.DAY_SECONDS
    made = on_store(to, deployment, lambda store, _: _report(store, since, comments))
    if as_json:
        console.document(made)
    else:
        _show(made)


async def _report(store: Store, since: float, most: int) -> Report:
    total = Count(of="")
    models: dict[str, Count] = {}
    reasons: dict[str, Count] = {}
    dates: dict[str, Count] = {}
    commented: list[tuple[str, str, Turn]] = []
    async for turn in _turns(store):
        if turn.created < since:
            continue
        told = set(turn.feedback.reasons) if turn.feedback else set[str]()
        counts = [(models, turn.model), (dates, keys.day(turn.created)), *((reasons, reason) for reason in told)]
        for count in (total, *(found.setdefault(of, Count(of=of)) for found, of in counts)):
            count.add(turn.feedback)
        if most and turn.feedback and turn.feedback.comment:
            newest = heapq.heappush if len(commented) < most else heapq.heappushpop
            newest(commented, (turn.id, turn.conversation_id, turn))
    return Report(
        since=keys.rfc3339(since),
        answers=total.answers,
        up=total.up,
        down=total.down,
        models=sorted(models.values(), key=lambda count: count.of),
        reasons=sorted(reasons.values(), key=lambda count: (-count.answers, count.of)),
        days=sorted(dates.values(), key=lambda count: count.of, reverse=True),
        comments=[_rated(turn) for *_, turn in sorted(commented, key=lambda each: each[:2], reverse=True)],
    )


async def _turns(store: Store) -> AsyncIterator[Turn]:
    """Everybody's."""
    cursor = None
    while True:
        page = await store.scan(keys.USERS, limit=PAGE, cursor=cursor)
        for row in page.rows:
            if row.sk.startswith(keys.TURNS):
                yield Turn.of(row)
        if (cursor := page.cursor) is None:
            return


def _rated(turn: Turn) -> Rated:
    assert turn.feedback is not None
    return Rated(
        message_id=turn.message_id,
        created=keys.rfc3339(turn.created),
        model=turn.model,
        rating=turn.feedback.rating,
        reasons=turn.feedback.reasons,
        comment=turn.feedback.comment,
    )


def _show(made: Report) -> None:
    console.screen.print(f"{made.answers} answers since {made.since}: {made.up} thumbs up, {made.down} down.")
    for title, counts in (("model", made.models), ("reason", made.reasons), ("day", made.days)):
        if counts:
            table = Table(title, "answers", "up", "down", box=None, pad_edge=False)
            for count in counts:
                table.add_row(_text(count.of), str(count.answers), str(count.up), str(count.down))
            console.screen.print()
            console.screen.print(table)
    for rated in made.comments:
        told = f" ({', '.join(rated.reasons)})" if rated.reasons else ""
        console.screen.print()
        console.screen.print(_text(f"{rated.created} {rated.rating}, {rated.model}{told}"), soft_wrap=True)
        console.screen.print(_text(f"{rated.message_id}: {rated.comment}"), soft_wrap=True)


def _text(said: str) -> Text:
    """People wrote it: no markup, and on one line, so that it cannot pass for a line of the report's own."""
    return Text(" ".join(printable(said).split()))
