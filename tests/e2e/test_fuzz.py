"""No request makes an entry fail, and every answer is one that the description has. `make fuzz` sends 10,000."""

from pathlib import Path

import pytest

from tests.fuzzing import ENTRIES, fuzz

REQUESTS = 250


@pytest.mark.timeout(400)
@pytest.mark.parametrize("entry", ENTRIES)
def test_every_answer_is_described_and_none_is_a_5xx(entry: str, tmp_path: Path) -> None:
    with ENTRIES[entry].running(tmp_path) as url:
        found = fuzz(url, tmp_path, ENTRIES[entry].methods, examples=2)
    assert found.passed, found.report
    assert found.statuses.total() >= REQUESTS
    assert max(found.statuses) < 500
    assert {200, 201, 204, 400, 404, 405} <= found.statuses.keys()
