import pytest

from wordup import ids


@pytest.fixture(autouse=True)
def own_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up times of these tests do not become other tests' past."""
    monkeypatch.setattr(ids, "_last", 0)


def test_ids_increase_within_a_millisecond_and_when_the_clock_steps_back() -> None:
    made = [ids.ulid(5_000_000_000_000) for _ in range(1000)]
    made += [ids.ulid(4_000_000_000_000) for _ in range(1000)]
    assert made == sorted(set(made))
    assert all(ids.is_ulid(each) for each in made)


def test_inverted_order_is_newest_first_and_its_own_inverse() -> None:
    made = [ids.ulid() for _ in range(100)]
    assert sorted(made, key=ids.inverted) == made[::-1]
    assert [ids.inverted(ids.inverted(each)) for each in made] == made


def test_timestamp_is_the_moment_it_was_made_for() -> None:
    assert ids.timestamp(ids.ulid(6_000_000_000_123)) == 6_000_000_000.123


def test_what_is_no_ulid() -> None:
    for text in ("", "8" + "0" * 25, "0" * 25, "0" * 27, "o" * 26, "u" * 26):
        assert not ids.is_ulid(text)
