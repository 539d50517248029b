import json
from datetime import datetime
from pathlib import Path

from benchmarks import results

TABLES = {"A race": [{"runner": "hare", "median_ms": 1.5}, {"runner": "tortoise", "median_ms": 12_345.0}]}


def test_record_appends_a_line_with_date_machine_and_versions(tmp_path: Path) -> None:
    results.record("results", {}, [], folder=tmp_path)
    results.record("results", TABLES, ["starlette", "msgspec"], folder=tmp_path)

    first, second = map(json.loads, (tmp_path / "results.jsonl").read_text().splitlines())
    assert set(first) == {"benchmark", "date", "machine", "python", "packages", "tables"}
    assert datetime.fromisoformat(first["date"]) <= datetime.fromisoformat(second["date"])
    assert set(first["machine"]) == {"cpu", "cores", "memory_gib", "load"}
    assert first["machine"]["cores"] >= 1
    assert list(second["packages"]) == ["msgspec", "starlette"]
    assert second["tables"] == TABLES


def test_page_shows_the_method_and_the_newest_figures(tmp_path: Path) -> None:
    results.record("results", {"Old": TABLES["A race"]}, [], folder=tmp_path)
    results.record("results", TABLES, ["msgspec"], folder=tmp_path)

    page = results.page(tmp_path)

    assert "| runner | median ms |\n| --- | ---: |\n| hare | 1.5 |\n| tortoise | 12,345.0 |" in page
    assert (results.__doc__ or "").partition("\n")[0] in page
    assert "**Old**" not in page


def test_page_in_the_docs_is_current() -> None:
    assert results.PAGE.read_text() == results.page()
