"""The stand-in for Lambda's Runtime API, with the runtime client that Lambda runs."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.runtime_api import FunctionFailed, Instance

FUNCTION = """
import os
count = 0
def handler(event, context):
    global count
    count += 1
    if event == "raise":
        raise ValueError("no such thing")
    if event == "exit":
        os._exit(3)
    return {"event": event, "count": count, "arn": context.invoked_function_arn, "mark": os.environ["MARK"]}
"""
Starter = Callable[[str], Instance]


@pytest.fixture
def start(tmp_path: Path) -> Starter:
    (tmp_path / "function.py").write_text(FUNCTION)
    python = Path(sys.executable)
    return lambda handler: Instance(python, tmp_path, handler, {"MARK": "set"}, log=tmp_path / "log")


def test_instance_answers_one_event_after_the_other(start: Starter) -> None:
    before = time.perf_counter()
    with start("function.handler") as instance:
        first, came = instance.invoke({"ünï": "code"})
        second, came_second = instance.invoke(None)

    assert first["event"] == {"ünï": "code"}
    assert first["arn"].startswith("arn:aws:lambda:")
    assert first["mark"] == "set"
    assert [first["count"], second["count"]] == [1, 2]
    assert before < instance.spawned < instance.ready < came < came_second


def test_error_of_the_function_is_raised_and_the_next_event_answered(start: Starter) -> None:
    with start("function.handler") as instance:
        with pytest.raises(FunctionFailed, match="no such thing"):
            instance.invoke("raise")

        assert instance.invoke("again")[0]["count"] == 2


def test_module_that_is_missing_is_raised(start: Starter) -> None:
    with start("missing.handler") as instance, pytest.raises(FunctionFailed, match=r"Runtime\.ImportModuleError"):
        instance.invoke({})


def test_process_that_ends_is_raised(start: Starter) -> None:
    with start("function.handler") as instance, pytest.raises(FunctionFailed, match="status 3"):
        instance.invoke("exit")
