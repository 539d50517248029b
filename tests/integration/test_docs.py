"""What the documents say, compared with what is there."""

import re
import shlex
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import typer

from cli import docs
from cli.main import app
from tests.home import wordup
from tests.provider_server import ProviderServer, Reply
from tests.serving import settings
from wordup.admission import TurnRequest
from wordup.auth import Credentials, issue_key, named
from wordup.bootstrap import Bot, build
from wordup.erasure import Erasure
from wordup.stores.base import Row

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def code(document: Path) -> list[str]:
    """Its lines of code and its spans of code."""
    text = document.read_text()
    lines = [line for block in re.findall(r"```[a-z]*\n(.+?)```", text, re.DOTALL) for line in block.splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", re.sub(r"```.+?```", "", text, flags=re.DOTALL))


def commands() -> list[str]:
    """Every command line of `wordup` in the documents, without the program's own name."""
    found = [re.fullmatch(r"(?:\.venv/bin/)?wordup( .+)", each.strip()) for file in DOCUMENTS for each in code(file)]
    return sorted({match[1].strip() for match in found if match})


def table(document: Path, headings: str) -> list[list[str]]:
    """The cells of the table whose headings begin so."""
    lines = document.read_text().partition(headings)[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("document", sorted(docs.FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_parts_made_from_the_code_are_as_the_code_is(document: Path):
    assert docs.rewritten(document.read_text()) == document.read_text(), "run `make docs`"


def test_every_part_that_the_code_makes_stands_in_a_document():
    named_ = {
        name for file in DOCUMENTS for name in re.findall(r"made from the code: ([a-z. ]+) -->", file.read_text())
    }
    assert named_ == set(docs.PARTS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_links_lead_somewhere(document: Path):
    links = re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_document_is_linked_from_the_readme():
    text = (ROOT / "README.md").read_text()
    assert [path.name for path in (ROOT / "docs").glob("*.md") if f"(docs/{path.name})" not in text] == []


@pytest.mark.parametrize("line", commands())
def test_command_in_a_document_is_one_that_the_program_takes(line: str):
    parse(shlex.split(line.replace("$KEY", "wu_key").replace("FOLDER...", "knowledge")))


def parse(words: list[str]) -> None:
    """As the program would, without doing it. Raises typer's own errors of wrong usage."""
    if words == ["--help"]:
        return
    command: Any = typer.main.get_command(app)
    context = command.make_context("wordup", words)
    while hasattr(command, "resolve_command"):
        remaining = [*context._protected_args, *context.args]
        name, command, words = command.resolve_command(context, remaining)
        context = command.make_context(name, words, parent=context)


def test_command_that_the_program_does_not_take_is_noticed():
    with pytest.raises(Exception, match=r"[Nn]o such option"):
        parse(["models", "--bogus"])
    with pytest.raises(Exception, match="No such command"):
        parse(["user", "bogus"])


def test_readme_names_every_command():
    command: Any = typer.main.get_command(app)
    told = {line.split()[0] for line in commands()}
    assert told - {"--help"} == set(command.commands)


def test_commands_of_the_readme_that_need_no_cloud_run(tmp_path: Path):
    text = (ROOT / "README.md").read_text()
    people = ["user add NAME", "user list", "user usage NAME", "user export NAME", "feedback report"]
    for line in ("models", *people, "data export FILE", "data import FILE", "user revoke NAME", "user erase NAME"):
        assert f"`wordup {line}`" in text
        done = wordup(tmp_path, *line.split())
        assert (done.returncode, done.stderr.startswith("error")) == (0, False), done.stderr


def test_every_file_and_test_of_the_threat_model_is_there():
    named_ = code(ROOT / "docs" / "threat-model.md")
    files = {name.partition("::")[0] for name in named_ if "/" in name and " " not in name}
    tests = [name.split("::") for name in named_ if "::" in name]
    assert [name for name in sorted(files) if not (ROOT / name).exists()] == []
    assert len(tests) > 30
    assert [name for file, name in tests if f"def {name}(" not in (ROOT / file).read_text()] == []


def test_options_of_the_server_in_the_documents_are_there():
    told = subprocess.run([sys.executable, ROOT / "functions" / "server.py", "--help"], capture_output=True, text=True)
    lines = [each for file in DOCUMENTS for each in code(file) if "python server.py" in each]
    options = {option for line in lines for option in re.findall(r"--[a-z-]+", line.partition("server.py")[2])}
    assert options
    assert options <= set(re.findall(r"--[a-z-]+", told.stdout))


async def every_row(bot: Bot) -> list[Row]:
    found: list[Row] = []
    cursor = None
    while True:
        page = await bot.store.scan("", limit=100, cursor=cursor)
        found += page.rows
        if (cursor := page.cursor) is None:
            return found


async def rows_of_a_life(folder: Path) -> list[Row]:
    """What stands in the store while a key is made, a question is answered and its user erased."""
    user = named("anna")
    with ProviderServer(Reply(delay=0.05)) as provider:
        bot = build(settings(folder, openai_api_key="sk-test", openai_base_url=provider.url))
        key = await issue_key(bot.store, user.id, "laptop")
        await bot.auth.open_session(Credentials(access_key=key, address="203.0.113.1"))
        seen: list[Row] = []
        async for _ in bot.chat.turn(user, TurnRequest(message="What is AWS Lambda?"), key="once"):
            seen += await every_row(bot)
        await Erasure(bot.store, bot.settings).erase(user)
        seen += await every_row(bot)
        await bot.close()
    return seen


async def test_rows_in_the_data_model_are_the_rows_in_the_store(tmp_path: Path):
    told = {
        (partition.strip("`") + "*", re.sub(r"<[^>]+>", "*", row.strip("`"))): expires == "never"
        for partition, row, _, expires in table(ROOT / "docs" / "data-model.md", "| partition | row |")
    }
    found: dict[tuple[str, str], set[bool]] = {}
    for row in await rows_of_a_life(tmp_path):
        kinds = [kind for kind in told if fnmatchcase(row.pk, kind[0]) and fnmatchcase(row.sk, kind[1])]
        assert len(kinds) == 1, (row.pk, row.sk)
        found.setdefault(kinds[0], set()).add(row.expires_at is None)

    assert found == {kind: {is_kept} for kind, is_kept in told.items()}
