"""Stand-ins for the operator's command-line tools, in a folder that is the whole PATH.

They answer from a script, in the form that the vendors document. No answer comes from an account, so what is tested
with them is what we ask and how we read the answers, not what the vendors' clouds do.
"""

import json
import sys
from pathlib import Path

import pytest

_TOOL = """#!{python}
import json, pathlib, re, sys
folder = pathlib.Path({folder!r})
asked = " ".join(sys.argv[1:])
with (folder / "asked.jsonl").open("a") as asked_file:
    asked_file.write(json.dumps([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]) + "\\n")
script = json.loads((folder / "{tool}.json").read_text())
for answer in script:
    if answer["times"] and re.search(answer["pattern"], asked):
        answer["times"] -= 1
        (folder / "{tool}.json").write_text(json.dumps(script))
        print(answer["output"], end="")
        print(answer["error"], end="", file=sys.stderr)
        sys.exit(answer["status"])
sys.exit(f"{tool} was not expected to be asked: {{asked}}")
"""


class Tools:
    """`folder` is the PATH of this process until the test ends."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        patch.setenv("PATH", str(folder))

    def answer(
        self, tool: str, pattern: str, output: object = "", *, error: str = "", status: int = 0, times: int = 99
    ) -> None:
        """To the next `times` questions that match; earlier answers go first. What is no text is given as JSON."""
        script = self._folder / f"{tool}.json"
        answers = json.loads(script.read_text()) if script.exists() else []
        text = output if isinstance(output, str) else json.dumps(output)
        answers.append({"pattern": pattern, "output": text, "error": error, "status": status, "times": times})
        script.write_text(json.dumps(answers))
        program = self._folder / tool
        program.write_text(_TOOL.format(python=sys.executable, folder=str(self._folder), tool=tool))
        program.chmod(0o755)

    def asked(self, *words: str) -> list[list[str]]:
        """Every command so far that has all these words, in order."""
        log = self._folder / "asked.jsonl"
        commands = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [command for command in commands if set(words) <= set(command)]
