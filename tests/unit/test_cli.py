import io
from pathlib import Path

import pytest
from rich.console import Console

from cli import home
from cli.answer import Answer
from cli.client import Client
from cli.deploy import Deployed, show_deployed
from cli.docs import rewritten
from wordup.errors import ConfigurationError

BLOCKS = [
    "# Title",
    "First\nparagraph.",
    "- one\n- two",
    "```python\nprint(1)\n\nprint(2)\n```",
    "|a|b|\n|-|-|\n|1|2|",
    "End, with [a link](https://example.com).",
]
MARKDOWN = "\n\n".join(BLOCKS)
AGAIN = "The connection was lost; the answer again:"


def shown(*attempts: list[str]) -> str:
    """What is printed for good of an answer that came in these pieces, begun again for each attempt."""
    console = Console(file=io.StringIO(), color_system=None, width=60)
    with console.capture() as written, Answer(console) as answer:
        for pieces in attempts:
            answer.restart()
            for piece in pieces:
                answer.add(piece)
    return "\n".join(line.rstrip() for line in written.get().splitlines()).strip("\n")


def in_pieces(size: int, text: str = MARKDOWN) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_answer_in_pieces_is_printed_once_block_by_block(size: int):
    expected = [
        "Title".center(60).rstrip(),
        "First paragraph.",
        " • one\n • two",
        " print(1)\n\n print(2)",
        " a  b\n ────\n 1  2",
        "End, with a link (https://example.com).",
    ]
    assert shown(in_pieces(size)) == "\n\n".join(expected)


def test_answer_that_comes_again_goes_on_where_it_was():
    assert shown(in_pieces(5)[:9], in_pieces(3)) == shown([MARKDOWN])


def test_answer_that_comes_again_otherwise_is_shown_anew():
    text = shown(["First block.\n\n", "Second block."], ["Another block.\n\n", "And its end."])
    assert text == f"First block.\n\n{AGAIN}\nAnother block.\n\nAnd its end."


def test_answer_that_comes_again_shorter_repeats_nothing():
    assert shown(["First block.\n\n", "Second block."], ["First"]) == "First block."


def test_first_answer_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]):
    answer = "Safe \x1b[31mred\x1b]8;;https://evil.example\x07, [a link](https://example.com)."
    done = Deployed(url="http://bot/", access_key_ref=None, target="aws", seconds=1.0, answer=answer)
    show_deployed(done, None)
    shown = capsys.readouterr().out
    assert "Safe [31mred" in shown
    assert "(https://example.com)" in shown
    assert "\x1b]8" not in shown


def test_line_separators_of_unicode_do_not_end_a_block():
    assert shown(["one\u2028two\n\n", "three"]).count("two") == 1


def test_settings_at_home_are_those_of_wordup_toml(tmp_path: Path):
    file = tmp_path / "wordup.toml"
    file.write_text("[bot]\nretention_days = 7\nuser_daily_usd = 0.25\n")
    settings = home.settings({}, file)
    assert (settings.retention_days, settings.user_daily_usd) == (7, 0.25)


def test_environment_wins_over_wordup_toml(tmp_path: Path):
    file = tmp_path / "wordup.toml"
    file.write_text("[bot]\nretention_days = 7\n")
    assert home.settings({"WORDUP_RETENTION_DAYS": "9"}, file).retention_days == 9


def test_wordup_toml_at_home_leaves_the_provider_to_the_environment(tmp_path: Path):
    file = tmp_path / "wordup.toml"
    file.write_text("[bot]\n")
    assert home.settings({"OPENAI_API_KEY": "sk-test"}, file).provider == "openai"


def test_key_of_wordup_toml_that_nobody_reads_is_refused_at_home(tmp_path: Path):
    file = tmp_path / "wordup.toml"
    file.write_text("[bot]\nretention = 7\n")
    with pytest.raises(ConfigurationError, match=r"bot\.retention is no key"):
        home.settings({}, file)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://", "nonsense"])
async def test_address_that_is_none_is_refused(url: str):
    with pytest.raises(ConfigurationError, match="is no web address"):
        Client(url, None)


def test_part_of_a_document_that_nobody_makes_is_an_error():
    with pytest.raises(KeyError, match="nobody"):
        rewritten("<!-- made from the code: nobody -->\n<!-- end -->\n")
