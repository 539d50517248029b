"""The articles that ship: what they say about themselves is complete, and the code in them is code."""

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import botocore.session
import pytest
import yaml
from botocore import xform_name

ROOT = Path(__file__).parents[2]
ARTICLES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "knowledge").glob("*.md"))}
LEAST = 43
# Whatever else is shown has no parser here.
LANGUAGES = {"python", "bash", "json", "yaml", "toml", "hcl", "bicep", "kusto", "sql", "dockerfile", "xml"}
SECTION_WORDS = range(25, 251)
# boto3 makes its methods at run time, so the type checker knows none of them: the calls are held to the models that
# boto3 makes them from instead.
BOTO3 = """
from typing import Any
def client(service_name: str, *, region_name: str = ..., endpoint_url: str = ..., config: object = ...) -> Any: ...
def resource(service_name: str, *, region_name: str = ..., config: object = ...) -> Any: ...
"""
BOTO3_OWN = {"get_paginator", "get_waiter", "generate_presigned_url", "upload_file", "download_file"}
# What AWS's command line adds to the operations' own parameters.
CLI_OWN = {"query", "output", "region", "count", "paths"}
# Where it calls a service other than boto3 does.
CLI_NAMES = {"s3api": "s3"}
AWS = botocore.session.get_session()


class Block(NamedTuple):
    name: str
    language: str
    code: str


def front_matter(text: str) -> dict[str, Any]:
    found = re.match(r"\+\+\+\n(.*?)\n\+\+\+\n", text, re.DOTALL)
    assert found, "no TOML between +++ lines"
    return tomllib.loads(found[1])


def body(text: str) -> str:
    return text.split("\n+++\n", 1)[1]


def blocks(*languages: str) -> Iterator[Block]:
    for article, text in ARTICLES.items():
        for number, found in enumerate(re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)):
            if not languages or found[1] in languages:
                yield Block(f"{article.replace('-', '_')}_{number}", found[1], found[2])


def named(found: Iterator[Block]) -> list[Any]:
    listed = [pytest.param(block, id=block.name) for block in found]
    assert listed
    return listed


def slug(heading: str) -> str:
    return re.sub(r"\W+", "-", heading.lower()).strip("-")


def aws_service(node: ast.expr, clients: dict[str, str]) -> str | None:
    """What a method is called on: "client sqs", "resource dynamodb", or nothing of boto3's."""
    match node:
        case ast.Name(id=name):
            return clients.get(name)
        case ast.Call(func=ast.Attribute(value=ast.Name(id="boto3"), attr=made), args=[ast.Constant(value=name), *_]):
            return f"{made} {name}"
        case ast.Call(func=ast.Attribute(value=receiver, attr=attribute)) if attribute[0].isupper():
            return aws_service(receiver, clients)  # a resource of a resource: Table("orders")
        case _:
            return None


def wrong_aws_calls(code: str) -> list[str]:
    """Every call of boto3 in the code that its service does not have, or that lacks or has too many parameters."""
    clients: dict[str, str] = {}
    wrong: list[str] = []
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if service := aws_service(value, clients):
                clients[name] = service
            case ast.Call(func=ast.Attribute(value=receiver, attr=method), keywords=keywords) if not method[
                0
            ].isupper() and (called := aws_service(receiver, clients)):
                made, service = called.split()
                model = AWS.get_service_model(service)
                operation = {xform_name(name): name for name in model.operation_names}.get(method)
                if operation is None:
                    wrong += [] if method in BOTO3_OWN else [f"{service} has no {method}"]
                    continue
                shape = model.operation_model(operation).input_shape
                assert shape, f"{method} takes nothing"
                given = {keyword.arg for keyword in keywords}
                wrong += [f"{method} has no {name}" for name in sorted(map(str, given - set(shape.members)))]
                if made == "client":  # a resource gives its own name
                    wrong += [f"{method} needs {name}" for name in sorted(set(shape.required_members) - given)]
    return wrong


def wrong_aws_commands(code: str) -> list[str]:
    """Every `aws SERVICE OPERATION --PARAMETER` in the code that AWS does not describe."""
    wrong: list[str] = []
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line)
        if words[:1] != ["aws"]:
            continue
        model = AWS.get_service_model(CLI_NAMES.get(words[1], words[1]))
        operation = {xform_name(name, "-"): name for name in model.operation_names}.get(words[2])
        shape = model.operation_model(operation).input_shape if operation else None
        members = {xform_name(name, "-"): member for name, member in shape.members.items()} if shape else {}
        switches = {f"no-{name}" for name, member in members.items() if member.type_name == "boolean"}
        known = CLI_OWN | members.keys() | switches
        given = {word.removeprefix("--") for word in words[3:] if word.startswith("--")}
        wrong += [f"{words[1]} has no {words[2]}"] if not operation else []
        wrong += [f"{words[2]} has no --{name}" for name in sorted(given - known)]
    return wrong


def test_there_are_articles_enough() -> None:
    assert len(ARTICLES) >= LEAST


@pytest.mark.parametrize("article", ARTICLES)
def test_every_source_of_an_article_was_read_on_its_day_or_is_listed_as_unread(article: str) -> None:
    text = ARTICLES[article]
    front = front_matter(text)
    read, unread = front.get("sources", []), front.get("unread", [])
    assert set(front) <= {"title", "topic", "checked", "sources", "unread"}
    assert re.findall(r"^# (.+)$", body(text), re.MULTILINE)[0] == front["title"]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", front["topic"])
    assert ("checked" in front) is bool(read)
    assert not read or date(2026, 11, 1) <= front["checked"] <= datetime.now(UTC).date()
    assert len({*read, *unread}) == len([*read, *unread]) >= 2
    assert [url for url in (*read, *unread) if not re.fullmatch(r"https://[\w.-]+/\S*", url)] == []
    assert set(re.findall(r"^Source: (\S+)$", text, re.MULTILINE)) <= {*read, *unread}


def test_titles_tell_the_articles_apart() -> None:
    titles = [front_matter(text)["title"].lower() for text in ARTICLES.values()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("article", ARTICLES)
def test_sections_are_of_a_size_to_be_quoted(article: str) -> None:
    prose = re.sub(r"^```.*?^```$", "", body(ARTICLES[article]), flags=re.MULTILINE | re.DOTALL)
    sections = re.split(r"^#+ (.+)$", prose, flags=re.MULTILINE)[1:]
    lengths = dict(zip(sections[::2], (len(section.split()) for section in sections[1::2]), strict=True))
    assert len(lengths) >= 4
    assert {heading: length for heading, length in lengths.items() if length not in SECTION_WORDS} == {}


def test_links_between_articles_resolve() -> None:
    links = [
        (article, *found)
        for article, text in ARTICLES.items()
        for found in re.findall(r"\]\((?!https://)([^)#]*)(?:#([^)]+))?\)", text)
    ]
    headings = {
        name: {slug(found) for found in re.findall(r"^#+ (.+)$", text, re.MULTILINE)} for name, text in ARTICLES.items()
    }
    broken = [
        (article, target, part)
        for article, target, part in links
        if target.removesuffix(".md") not in ARTICLES or (part and part not in headings[target.removesuffix(".md")])
    ]
    assert broken == []


def test_every_block_says_its_language() -> None:
    assert {block.name for block in blocks() if block.language not in LANGUAGES} == set()


def test_python_compiles_and_its_types_are_right(tmp_path: Path) -> None:
    shown = list(blocks("python"))
    assert len(shown) >= 40
    (tmp_path / "typings" / "boto3").mkdir(parents=True)
    (tmp_path / "typings" / "boto3" / "__init__.pyi").write_text(BOTO3)
    for block in shown:
        compile(block.code, block.name, "exec")
        (tmp_path / f"{block.name}.py").write_text(block.code)
    settings = {"typeCheckingMode": "standard", "stubPath": "typings", "pythonVersion": "3.13"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))

    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", "--project", tmp_path]
    report = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout)

    assert report["summary"]["filesAnalyzed"] >= len(shown)
    assert [
        f"{Path(found['file']).stem}:{found['range']['start']['line'] + 1} {found['message']}"
        for found in report["generalDiagnostics"]
    ] == []


def test_calls_of_boto3_are_the_ones_that_aws_describes() -> None:
    shown = [block for block in blocks("python") if "boto3" in block.code]
    assert len(shown) >= 15
    assert {block.name: wrong for block in shown if (wrong := wrong_aws_calls(block.code))} == {}


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        (
            "boto3.client('sqs').send_message(QueueUrl='', Body='')",
            ["send_message has no Body", "send_message needs MessageBody"],
        ),
        ("sqs = boto3.client('sqs')\nsqs.post_message()", ["sqs has no post_message"]),
        ("t = boto3.resource('dynamodb').Table('a')\nt.put_item(Itme={})", ["put_item has no Itme"]),
        ("boto3.client('s3').upload_file('a', 'b', 'c')", []),
        ("boto3.client('sqs').receive_message(QueueUrl='').get('Messages')", []),
    ],
)
def test_a_wrong_call_of_boto3_is_found(code: str, wrong: list[str]) -> None:
    assert wrong_aws_calls(code) == wrong


def test_commands_of_aws_are_the_ones_that_it_describes() -> None:
    shown = [block for block in blocks("bash") if "aws " in block.code]
    assert len(shown) >= 8
    assert {block.name: wrong for block in shown if (wrong := wrong_aws_commands(block.code))} == {}
    assert wrong_aws_commands("aws sqs send-message --que x") == ["send-message has no --que"]
    assert wrong_aws_commands("aws sqs post") == ["sqs has no post"]
    assert wrong_aws_commands("aws s3api get-object --bucket b --no-key") == ["get-object has no --no-key"]


@pytest.mark.parametrize("block", named(blocks("json", "yaml", "toml")))
def test_data_parses(block: Block) -> None:
    parse = {"json": json.loads, "yaml": lambda code: list(yaml.safe_load_all(code)), "toml": tomllib.loads}
    assert parse[block.language](block.code)


@pytest.mark.parametrize("block", named(blocks("bash")))
def test_shell_commands_parse(block: Block) -> None:
    told = subprocess.run(["bash", "-n"], input=block.code, capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")
