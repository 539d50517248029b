"""What is reserved before a turn bounds what the turn can send."""

from hypothesis import given, settings
from hypothesis import strategies as st

from wordup.ids import ulid
from wordup.prompts import SKILLS, messages, prompt_bound
from wordup.providers.base import Passage, input_token_bound
from wordup.questions import Intent
from wordup.turns import HISTORY_TURNS, Turn, tokens

TEXT = st.text(max_size=300)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=HISTORY_TURNS), st.lists(TEXT, max_size=5), TEXT)
@settings(max_examples=100, deadline=None)
def test_bound_holds_for_any_history_and_passages(
    said: list[tuple[str, str]], quoted: list[str], question: str
) -> None:
    past = [Turn(id=ulid(), conversation_id=ulid(), question=q, answer=a, model="m") for q, a in said]
    passages = [Passage(id="p", title=text, text=text * 20) for text in quoted]
    budget = sum(tokens(turn.question) + tokens(turn.answer) for turn in past)
    assert input_token_bound(messages(past, passages, question)) <= prompt_bound(question, budget)


def test_empty_answers_are_not_sent() -> None:
    stopped = Turn(id=ulid(), conversation_id=ulid(), question="q", answer="", model="m", finish_reason="stopped")
    assert [message.role for message in messages([stopped], [], "again")] == ["system", "user", "system", "user"]


def test_what_changes_from_turn_to_turn_stands_last():
    passage = Passage(id="p", title="Title", text="Text")
    first = messages([], [passage], "What is SQS?")
    turn = Turn(id=ulid(), conversation_id=ulid(), question="What is SQS?", answer="A queue.", model="m")
    second = messages([turn], [], "How do I send a message?")
    assert second[:1] == first[:1]
    assert [message.content for message in second[1:3]] == ["What is SQS?", "A queue."]
    assert "[1] Title\nText" in first[-2].content
    assert second[-2].content.startswith(SKILLS["howto"])


def test_skill_follows_from_the_question():
    asked: list[tuple[str, Intent]] = [
        ("What is the Azure counterpart of SQS?", "equivalence"),
        ("Zeig mir, wie ich eine Datei hochlade", "howto"),
        ("Compare SQS and SNS", "comparison"),
        ("Summarise this text: queues decouple.", "summary"),
    ]
    for question, intent in asked:
        assert messages([], [], question)[-2].content.startswith(SKILLS[intent])
    assert "no passage" in messages([], [], "What is love?")[-2].content
