"""`wordup knowledge`: what the bot answers from. Adds an operator's documents, searches, and measures the search."""

import asyncio
import itertools
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cli import console, evaluation, home, judging, library, vectors
from cli.answer import printable
from cli.deploy import AsJSON
from wordup import index
from wordup.bootstrap import open_embedder, open_embeddings
from wordup.config import Settings
from wordup.embeddings import Embeddings
from wordup.errors import ConfigurationError, WordUpError
from wordup.models import MILLION
from wordup.providers.base import Embedded, Embedder, Passage
from wordup.retrieval import CHECKOUT, Knowledge

app = typer.Typer(help="What the bot answers from.", no_args_is_help=True)


KEY_MEND = "Set OPENAI_API_KEY."
# For one request of many passages, with what is repeated of it.
BATCH_SECONDS, RETRIES = 120.0, 4
QUESTION_SECONDS = 30.0  # nobody waits for an answer
NOT_JUDGED = "The answers were not judged: that needs a model's key (OPENAI_API_KEY)."


class BelowFloor(WordUpError):
    code = "below_floor"
    mend = "The misses show which questions found what; mend the knowledge or the search."


class NoneJudged(WordUpError):
    code = "none_judged"
    mend = "Check the model's key and address, or leave the answers unjudged with --judged 0."


@app.command()
def build(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of Markdown, HTML, PDF and text.", exists=True, file_okay=False),
    ] = None,
    shipped: Annotated[
        bool, typer.Option("--shipped", help="The vectors of what deployments carry, instead of this home's.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Add folders of documents to what the bot answers from at home, and make the vectors that the setting `embeddings`
    asks for. Interrupted, it goes on where it was."""
    settings = home.settings()
    if not (folders or settings.embeddings):
        raise ConfigurationError(
            "WORDUP_EMBEDDINGS", "There is nothing to build.", mend="Name folders, or a model in `embeddings`."
        )
    added = embedded = None
    if folders:
        with _bar("reading") as report, library.opened(Path(settings.data_dir)) as books:
            added = books.add(folders, report)
    if settings.embeddings:
        with _bar("embedding") as report:
            embedded = _embed(settings, report, shipped=shipped)
    if as_json:
        told = msgspec.structs.asdict(added) if added else {}
        console.document(told | ({"vectors": embedded} if embedded else {}))
        return
    if added:
        console.screen.print(f"{added.added} added, {added.unchanged} unchanged, {added.removed} removed.")
        for refused in added.refused:
            said = f"left out: {refused.file}: {refused.why}"
            console.screen.print(said, style="yellow", markup=False, soft_wrap=True)
    if embedded:
        console.screen.print(
            f"{embedded.embedded} passages embedded, {embedded.unchanged} unchanged, {embedded.removed} removed."
        )


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="A question.")],
    limit: Annotated[int, typer.Option(help="Passages at most.", min=1, max=50)] = 3,
    as_json: AsJSON = False,
) -> None:
    """Show the passages that a question is answered from."""
    with _opened(home.settings()) as knowledge:
        found = knowledge.search(query, limit=limit)
    if as_json:
        console.document(
            [{"id": p.id, "title": p.title, "score": p.score, "url": p.url, "text": p.text} for p in found]
        )
        return
    for number, passage in enumerate(found, 1):
        console.screen.print(f"[{number}] {passage.title}  ({passage.id}, {passage.score})", style="bold", markup=False)
        console.screen.print(passage.text, markup=False)
        console.screen.print(passage.url + "\n", style="dim", soft_wrap=True)
    if not found:
        console.screen.print("Nothing is relevant enough.")


@app.command("eval")
def eval_(
    file: Annotated[Path, typer.Argument(help="Labelled questions, as knowledge/eval/questions.toml has them.")],
    split: Annotated[str, typer.Option(help="Only the questions of this split.")] = "",
    least_recall: Annotated[float, typer.Option(help="Fail below this recall@3.", min=0, max=1)] = 0.0,
    least_mrr: Annotated[float, typer.Option(help="Fail below this mean reciprocal rank.", min=0, max=1)] = 0.0,
    judged: Annotated[
        int, typer.Option(help="With a model's key: have the answers to so many questions judged.", min=0)
    ] = 20,
    judge: Annotated[str, typer.Option(help="The model that judges; without it, the bot's own.")] = "",
    as_json: AsJSON = False,
) -> None:
    """Measure the search on labelled questions: recall@k, mean reciprocal rank, and what was missed. With a model's
    key, also have the answers to a sample of them judged by a model."""
    settings = home.settings()
    if judge and not judging.can_judge(settings):
        raise ConfigurationError("OPENAI_API_KEY", "There is no key of a model that could judge.", mend=KEY_MEND)
    questions = evaluation.load(file, split)
    judgement: judging.Judgement | None = None
    with _opened(settings) as knowledge:
        report = evaluation.evaluate(knowledge, questions)
        if judged and judging.can_judge(settings):
            sample = judging.sample(questions, judged)
            judgement = _judged(judging.Judging(settings, knowledge, sample, judge))
    if as_json:
        console.document(msgspec.to_builtins(report) | {"judgement": judgement})
    else:
        table = Table("questions", "recall@1", "recall@3", "recall@10", "MRR", "off topic", "declined", box=None)
        figures = (report.recall_at_1, report.recall_at_3, report.recall_at_10, report.mrr)
        table.add_row(
            str(report.questions), *(f"{f:.3f}" for f in figures), str(report.off_topic), f"{report.declined:.3f}"
        )
        for miss in report.misses:
            where = f"rank {miss.rank}" if miss.rank else "not found"
            console.screen.print(
                f"{miss.id}: {miss.text} ({where}; {', '.join(miss.found)})", markup=False, soft_wrap=True
            )
        console.screen.print(table)
        if judgement is not None:
            _show(judgement)
        else:
            console.screen.print(NOT_JUDGED if not judging.can_judge(settings) else "The answers were not judged.")
    if report.recall_at_3 < least_recall or report.mrr < least_mrr:
        raise BelowFloor(
            f"recall@3 is {report.recall_at_3:.3f} and must be {least_recall:.2f}, MRR {report.mrr:.3f} and must be"
            f" {least_mrr:.2f}."
        )
    if judgement is not None and not judgement.judged:
        raise NoneJudged(f"No answer could be judged. {judgement.unjudged[0].reason}")


def _judged(plan: judging.Judging) -> judging.Judgement:
    """Says what it may cost before it begins."""
    console.progress.print(f"{plan}: at most about {plan.estimate() / MILLION:.4f} US dollars.", markup=False)
    done = itertools.count(1)
    with _bar("judging") as report:
        return asyncio.run(plan.run(lambda: report(next(done), len(plan))))


def _show(judgement: judging.Judgement) -> None:
    for fault in (*judgement.failed, *judgement.unjudged):
        kind = ", ".join(fault.faults) or "not judged"
        # A model wrote the reason: on one line, so that it cannot pass for a line of the report's own.
        told = " ".join(printable(f"{fault.id}: {fault.text} ({kind}: {fault.reason})").split())
        console.screen.print(told, markup=False, soft_wrap=True)
    table = Table("answers", "judged", "grounded", "relevant", "cited", "good", "US dollars", box=None)
    shares = (judgement.grounded, judgement.relevant, judgement.cited, judgement.good)
    figures = ("-" if share is None else f"{share:.3f}" for share in shares)
    table.add_row(str(judgement.sample), str(judgement.judged), *figures, f"{judgement.usd:.4f}")
    console.screen.print(table)
    console.screen.print(f"Answers by {judgement.model}, judged by {judgement.judge}.", markup=False)


class _Asked:
    """The home's knowledge, asked as its bot asks; but that a question whose vector does not come is an error."""

    def __init__(self, knowledge: Knowledge, embeddings: Embeddings | None, runner: asyncio.Runner) -> None:
        self._knowledge = knowledge
        self._embeddings = embeddings
        self._runner = runner

    def search(self, query: str, *, limit: int = 3) -> list[Passage]:
        meaning = self._runner.run(self._embeddings.ask(query, QUESTION_SECONDS))[0] if self._embeddings else None
        return self._knowledge.search(query, limit=limit, meaning=meaning)


@contextmanager
def _opened(settings: Settings) -> Generator[_Asked]:
    knowledge = Knowledge(settings.knowledge_dir, settings.data_dir)
    with closing(knowledge), asyncio.Runner() as runner:
        if not settings.embeddings:
            yield _Asked(knowledge, None, runner)
            return
        with _embedder(settings, runner) as embedder, closing(open_embeddings(settings, knowledge, embedder)) as opened:
            yield _Asked(knowledge, opened, runner)


def _embed(settings: Settings, report: Callable[[int, int], object], *, shipped: bool) -> vectors.Embedded:
    knowledge = Knowledge(settings.knowledge_dir, settings.data_dir)
    file = index.current(CHECKOUT / "knowledge", CHECKOUT / "build") if shipped else knowledge.locate()
    with asyncio.Runner() as runner, _embedder(settings, runner) as embedder:
        model = open_embeddings(settings, knowledge, embedder).model

        def embed(texts: list[str]) -> Embedded:
            return runner.run(embedder.embed(model.name, texts, seconds=BATCH_SECONDS, retries=RETRIES))

        return vectors.build(file, model.id, embed, report)


@contextmanager
def _embedder(settings: Settings, runner: asyncio.Runner) -> Generator[Embedder]:
    embedder = open_embedder(settings)
    try:
        yield embedder
    finally:
        runner.run(embedder.close())


@contextmanager
def _bar(title: str) -> Generator[Callable[[int, int], object]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console.progress) as progress:
        bar = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)
