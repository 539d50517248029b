"""What strangers send into our own parsers ends in our own errors, never in another exception."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import serving
from tests.parsers import PARSERS
from tests.serving import KEY
from wordup import keys, paging
from wordup.auth import Credentials
from wordup.bootstrap import Bot, build
from wordup.endpoints import wire
from wordup.endpoints.base import Classification, Media, Step
from wordup.errors import InvalidField, InvalidToken, MissingToken, WordUpError, WrongAccessKey
from wordup.ids import inverted, is_ulid, ulid
from wordup.markdown import conversation as as_markdown
from wordup.questions import in_context
from wordup.turns import Conversation, Turn, parse_message_id

MANY = settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SORT_KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


@pytest.mark.parametrize("name", PARSERS)
def test_parser_takes_what_the_search_begins_with_and_any_bytes(name: str) -> None:
    parser = PARSERS[name]
    for seed in parser.seeds:
        parser.feed(seed)
    MANY(given(data=st.binary(max_size=80))(parser.feed))()


@MANY
@given(key=SORT_KEYS)
def test_cursor_comes_back_as_it_was(key: str) -> None:
    cursor = keys.RECENT + key
    assert paging.decode(paging.encode(cursor), keys.RECENT) == cursor


@MANY
@given(text=st.text(max_size=80) | st.binary(max_size=60).map(lambda value: value.decode("latin-1")))
def test_no_text_is_a_cursor_of_another_list(text: str) -> None:
    try:
        found = paging.decode(text, keys.RECENT)
    except InvalidField:
        return
    assert found is None or (found.startswith(keys.RECENT) and found.isascii() and found.isprintable())


@MANY
@given(text=st.text(max_size=80))
def test_no_text_but_two_ulids_is_a_message(text: str) -> None:
    try:
        conversation_id, turn_id = parse_message_id(text, "/id")
    except InvalidField:
        return
    assert is_ulid(conversation_id)
    assert is_ulid(turn_id)


ULIDS = st.from_regex(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", fullmatch=True)


@MANY
@given(first=ULIDS, second=ULIDS)
def test_inverted_ids_sort_the_other_way(first: str, second: str) -> None:
    assert is_ulid(first)
    assert (first < second) == (inverted(first) > inverted(second))
    assert inverted(inverted(first)) == first


@MANY
@given(key=st.text(max_size=300))
def test_every_idempotency_key_is_a_key_of_every_database(key: str) -> None:
    sk = keys.idempotency(key)
    assert len(sk) <= 512
    assert not set(sk) & set("/\\#?%")
    assert sk.isascii()


EVENTS = st.lists(
    st.binary(max_size=40)
    | st.sampled_from(
        [
            b"event: step\ndata: {}\n\n",
            b"event: result\ndata: ",
            b'event: step\ndata: {"step": 1, "steps": 2}\n\n',
            b"event: error\ndata: {}\n\n",
            b": comment\n\n",
            b"\n\n",
        ]
    ),
    max_size=8,
)


@MANY
@given(chunks=EVENTS)
async def test_stream_of_anything_gives_steps_and_ends_in_a_result_or_our_error(chunks: list[bytes]) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    found: list[Step | Media] = []
    try:
        async for event in wire.events(stream(), 10):
            found.append(event)  # noqa: PERF401 - what came before an error counts
    except WordUpError:
        assert all(isinstance(event, Step) for event in found)
    else:
        assert isinstance(found[-1], Media)


@MANY
@given(status=st.integers(100, 599), body=st.binary(max_size=80), retry_after=st.text(max_size=8))
def test_every_refusal_of_an_endpoint_is_one_of_our_errors(status: int, body: bytes, retry_after: str) -> None:
    assert isinstance(wire.failure(status, body, retry_after), WordUpError)


def test_retry_after_of_thousands_of_digits_is_no_number() -> None:
    assert isinstance(wire.failure(429, b"", "9" * 5000), WordUpError)


@MANY
@given(body=st.binary(max_size=80))
def test_no_bytes_but_a_classification_are_one(body: bytes) -> None:
    try:
        found = wire.classification(body)
    except WordUpError:
        return
    assert isinstance(found, Classification)


@MANY
@given(message=st.text(max_size=200), previous=st.text(max_size=200))
def test_every_question_has_a_context(message: str, previous: str) -> None:
    assert message in in_context(message, previous)


@MANY
@given(title=st.text(max_size=60), question=st.text(max_size=200))
def test_every_conversation_is_a_markdown_file(title: str, question: str) -> None:
    found = Conversation(id=ulid(), title=title, turns=1, moment=ulid()[:10])
    turn = Turn(id=ulid(), conversation_id=found.id, question=question, answer=title, model="m")
    assert question in as_markdown(found, [turn])


@MANY
@given(token=st.text(st.characters(max_codepoint=255), max_size=120))
async def test_no_text_is_somebodys_session(bot: Bot, token: str) -> None:
    with pytest.raises((InvalidToken, MissingToken, WrongAccessKey)):
        await bot.auth.user(Credentials(authorization=f"Bearer {token}"))


@MANY
@given(flipped=st.integers(0, 500), character=st.sampled_from("A0_-.~ "))
async def test_session_with_another_character_is_nobodys(bot: Bot, flipped: int, character: str) -> None:
    token = (await bot.auth.open_session(Credentials(access_key=KEY))).token
    at = flipped % (len(token) - 1)  # of the last character two bits mean nothing
    if token[at] == character:
        return
    with pytest.raises((InvalidToken, MissingToken)):
        await bot.auth.user(Credentials(authorization=f"Bearer {token[:at]}{character}{token[at + 1 :]}"))


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[Bot]:
    bot = build(serving.settings(tmp_path, sign_ins_per_minute=100_000))
    yield bot
    await bot.close()
