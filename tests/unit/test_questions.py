"""The questions that retrieval is measured by: well-formed, answered by documents that exist, and split honestly."""

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from wordup.questions import asks_title, parse, with_names

KNOWLEDGE = Path(__file__).parents[2] / "knowledge"
QUESTIONS: list[dict[str, Any]] = tomllib.loads((KNOWLEDGE / "eval" / "questions.toml").read_text())["question"]
LEAST = 300
KINDS = {"equivalence", "limit", "howto", "comparison", "concept", "price", "offtopic"}
LANGUAGES = {"en", "de", "fr", "es", "it", "pt"}


def of_split(split: str) -> list[dict[str, Any]]:
    return [question for question in QUESTIONS if question["split"] == split]


def documents() -> set[str]:
    articles = {f"article:{path.stem}" for path in KNOWLEDGE.glob("*.md")}
    tables = [tomllib.loads(path.read_text()) for path in (KNOWLEDGE / "services").glob("*.toml")]
    return articles | {f"service:{service['id']}" for table in tables for service in table.get("service", [])}


def test_every_question_is_whole() -> None:
    fields = {"id": str, "topic": str, "split": str, "kind": str, "language": str, "text": str, "answers": list}
    for question in QUESTIONS:
        assert {name: type(value) for name, value in question.items()} == fields
        assert question["split"] in {"train", "test"}
        assert question["kind"] in KINDS
        assert question["language"] in LANGUAGES
        assert question["text"] == " ".join(question["text"].split()) != ""
        assert len(set(question["answers"])) == len(question["answers"])


def test_no_question_is_there_twice() -> None:
    assert [text for text, times in Counter(question["id"] for question in QUESTIONS).items() if times > 1] == []
    assert [
        text for text, times in Counter(question["text"].casefold() for question in QUESTIONS).items() if times > 1
    ] == []


def test_every_answer_is_a_document() -> None:
    named = {answer for question in QUESTIONS for answer in question["answers"]}
    assert named - documents() == set()


def test_what_is_off_topic_has_no_answer_and_all_else_has() -> None:
    assert [
        question["id"] for question in QUESTIONS if (question["kind"] == "offtopic") == bool(question["answers"])
    ] == []


def test_no_topic_and_no_document_is_in_both_splits() -> None:
    topics = {split: {question["topic"] for question in of_split(split)} for split in ("train", "test")}
    answers = {split: {answer for question in of_split(split) for answer in question["answers"]} for split in topics}
    assert topics["train"] & topics["test"] == set()
    assert answers["train"] & answers["test"] == set()


def test_there_are_enough_of_every_sort() -> None:
    assert len(QUESTIONS) >= LEAST
    for split in ("train", "test"):
        questions = of_split(split)
        kinds = Counter(question["kind"] for question in questions)
        assert len(questions) >= 0.4 * len(QUESTIONS)
        assert set(kinds) == KINDS
        assert min(kinds.values()) >= 3
        assert sum(question["language"] != "en" for question in questions) >= 0.15 * len(questions)
        assert {question["language"] for question in questions} == LANGUAGES


@pytest.mark.parametrize(
    ("text", "language", "intent"),
    [
        ("quel service GCP remplace Step Functions ?", "fr", "equivalence"),
        ("¿qué usa Azure en lugar de Redshift?", "es", "equivalence"),
        ("qual o limite de memória do Cloud Run?", "pt", "limit"),
        ("Unterschied zwischen Service Bus und Event Hubs", "de", "comparison"),
        ("come posso creare un bucket con Terraform?", "it", "howto"),
        ("find permissions nobody uses", "en", "howto"),
        ("Standard versus Express workflows", "en", "comparison"),
        ("number of VPCs I can create per region", "en", "limit"),
        ("How do I raise the limit of VPCs?", "en", "howto"),
        ("how much memory has a function", "en", "limit"),
        ("how much does a function cost", "en", "price"),
        ("¿Cómo conecto dos redes?", "es", "howto"),
        ("¿Cómo se llama eso en Azure?", "es", "equivalence"),
        ("Como sei o limite de regras?", "pt", "limit"),
    ],
)
def test_question_tells_its_language_and_what_it_wants(text: str, language: str, intent: str) -> None:
    question = parse(text)
    assert (question.language, question.intent) == (language, intent)


@pytest.mark.parametrize(
    ("text", "names", "intent"),
    [
        ("we use X, now it must be Azure", [("x", "aws")], "equivalence"),
        ("we use X on AWS", [("x", "aws")], "any"),
        ("X or Y?", [("x", "aws"), ("y", "aws")], "comparison"),
        ("X oder Y, und wann was?", [("x", "aws"), ("y", "gcp")], "comparison"),
        ("X or not?", [("x", "aws")], "any"),
        ("we use X, the new one has to be from Azure", [("x", "aws")], "equivalence"),
        ("we want to connect X and Azure", [("x", "aws")], "howto"),
        ("how do I move X to Azure", [("x", "aws")], "howto"),
        ("we use nothing on Azure", [], "any"),
    ],
)
def test_names_of_products_tell_what_is_asked(text: str, names: list[tuple[str, str]], intent: str) -> None:
    assert with_names(parse(text), names).intent == intent


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("make sure nobody can read my queue", "howto"),
        ("Let another project write to our topic", "howto"),
        ("We deploy with Bicep. How?", "howto"),
        ("supprimer les vieux fichiers d'un bucket", "howto"),
        ("Event Hubs throughput unit limit, basic vs standard", "limit"),
        ("basic vs standard tier of Event Hubs", "comparison"),
        ("Cosmos DB frente a MongoDB", "comparison"),
        ("Wie heißt Pub/Sub bei Azure?", "equivalence"),
        ("Export what we pay for to a table", "howto"),
        ("Resize the disk", "howto"),
        ("Worin unterscheiden sich Spanner und AlloyDB?", "comparison"),
        ("Kinesis no Azure, como se chama?", "equivalence"),
        ("Le nombre maximal de tables dans Spanner", "limit"),
        ("Anzahl der Subnetze je VPC", "limit"),
        ("¿Cuánta memoria tiene un clúster?", "limit"),
        ("Wie teuer ist Pub/Sub?", "price"),
        ("Come riduco i costi di Redshift?", "howto"),
        ("Is a blob of more than 3 TB allowed? May it be larger than that?", "limit"),
    ],
)
def test_a_question_without_its_usual_words_is_understood(text: str, intent: str) -> None:
    assert parse(text).intent == intent


def test_a_question_asks_a_title_that_it_holds_the_words_of() -> None:
    question = parse("Lend a bucket to another account, how?")
    assert asks_title(question, "how-do-i-lend-a-bucket-to-another-account") == 1
    assert asks_title(question, "how-do-i-close-a-bucket-to-everybody") < 0.25
    assert asks_title(question, "another-account") == 0  # asks nothing
    assert asks_title(parse("X vs Y"), "w-x-y-or-z-which-one") == 0.5
    assert asks_title(parse("How do I make X or Y?"), "w-x-y-or-z-which-one") == 0  # chooses nothing


@pytest.mark.parametrize(
    ("text", "language", "holds", "lacks"),
    [
        ("Welche Sicherheitsgruppen hängen am Cluster?", "de", {"security", "group"}, {"protect"}),
        ("Wer bezahlt beim Premium Plan die Server?", "de", {"plan"}, {"schedule"}),
        ("Qual política está no Cloud IAM?", "pt", {"iam"}, {"node"}),
        ("Un VPN site-à-site, qui le gère ?", "fr", {"site-to-site"}, {"website"}),
        ("Jak często odtworzyć kopię bazy?", "pl", {"restore", "database"}, set[str]()),
        ("Uslugi w podsieci bez stref", "pl", {"subnet", "zone"}, set[str]()),
        ("Looker in BI terms of AI", "en", {"looker", "ai"}, set[str]()),
        ("Uma fila de mensagens mortas no Pub/Sub", "pt", {"dead-letter"}, {"mortas"}),
        ("Cada 15 minutos debe correr mi contenedor", "es", {"schedule"}, {"minutos"}),
        ("La limite de tables dans Spanner", "fr", {"spanner"}, {"limit"}),
        ("Tag a bucket with its owner", "en", {"tag", "bucket"}, set[str]()),
        ("chi ha eliminato il mio bucket?", "it", {"audit"}, {"eliminato"}),
    ],
)
def test_words_are_read_in_their_language(text: str, language: str, holds: set[str], lacks: set[str]) -> None:
    question = parse(text)
    assert question.language == language
    assert question.weights.keys() >= holds
    assert question.weights.keys().isdisjoint(lacks)
