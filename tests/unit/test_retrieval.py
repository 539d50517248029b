"""What is found in the knowledge that ships, what is not, and that no question breaks the search."""

import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordup.documents import SECTION_CHARACTERS, read
from wordup.errors import ConfigurationError
from wordup.prompts import PASSAGE_BYTES
from wordup.retrieval import Knowledge, contextual_query

SHIPPED = Path(__file__).parents[2] / "knowledge"
KNOWLEDGE = Knowledge()


def found(query: str, *, limit: int = 3) -> list[str]:
    return [passage.id for passage in KNOWLEDGE.search(query, limit=limit)]


@pytest.mark.parametrize(
    ("question", "passage"),
    [
        ("How long can a Lambda function run?", "service:serverless-function"),
        ("What is the maximum memory of AWS Lambda?", "service:serverless-function"),
        ("azure functions http timeout", "service:serverless-function"),
        ("Cloud Run request timeout", "service:serverless-container"),
        ("kubernetes cluster price", "service:managed-kubernetes"),
        ("What is the Azure counterpart of SQS?", "service:message-queue"),
        ("equivalent of S3 on Azure", "service:object-storage"),
        ("Which GCP service is like DynamoDB?", "service:key-value-database"),
        ("How large can an SQS message be?", "service:message-queue"),
        ("pub/sub message retention", "service:publish-subscribe"),
        ("max item size dynamodb", "service:key-value-database"),
        ("firestore document size", "article:nosql-databases#google-firestore"),
        ("How do I generate a presigned URL?", "article:object-storage#amazon-s3"),
        ("How do I upload a file to Google Cloud Storage in Python?", "article:object-storage#google-cloud-storage"),
        (
            "too many database connections from lambda",
            "article:relational-databases",
        ),
        ("how many role assignments per subscription", "article:identity#azure-rbac-and-microsoft-entra-id"),
        ("what is a managed identity", "service:workload-identity"),
        ("How do I store secrets safely?", "article:secrets#aws-secrets-manager-and-parameter-store"),
        ("What does a NAT gateway cost?", "article:networking#nat-gateways-leaving-without-a-public-address"),
        ("log retention cloudwatch", "article:observability#amazon-cloudwatch"),
        ("Is there a hard spending limit on AWS?", "article:cost-control#budgets-and-alerts"),
        ("free tier of cloud run", "service:serverless-container"),
        ("CloudFormation resource limit", "article:infrastructure-as-code#aws-cloudformation-and-cdk"),
        ("spot instance notice", "article:compute#spot-and-preemptible-machines"),
        ("Our bored accountants glance perhaps twice weekly at S3: Athena or Redshift?", "article:data-warehouses"),
        ("Yikes, scary surprise! Get me a mail before the bill gets this high", "article:cost-control"),
        ("EKS against ECS: what is the difference?", "article:containers#ecs-or-eks-which-one-should-i-take"),
    ],
)
def test_question_finds_its_passage(question: str, passage: str) -> None:
    assert any(f"{each}#".startswith(f"{passage}#") for each in found(question))


@pytest.mark.parametrize(
    "question",
    [
        "What is the best recipe for lasagna?",
        "Who won the football world cup in 2014?",
        "Write me a poem about the sea",
        "What is the capital of France?",
        "How do I train my dog?",
        "explain quantum entanglement",
        "Hello!",
        "thanks, that is great",
        "What can you do?",
        "",
        "   \n",
        "?!",
        "Que série devo ver esta noite com a família?",
        "¿Qué sabor es el mejor para un helado?",
        "¿Qué libro le presto a mi abuela?",
        "Quanti gradi ci sono oggi nel server room di Torino?",
        "Which kernel parameter did Lambda's hypervisor team flip to silence spurious hrtimer interrupts?",
    ],
)
def test_question_about_something_else_finds_nothing(question: str) -> None:
    assert found(question) == []


@pytest.mark.parametrize(
    "question",
    [
        "'; DROP TABLE passages; --",
        'lambda" OR title:"',
        "lambda AND (OR NOT NEAR(",
        "* ^ : - + { } [ ] lambda*",
        "\x00lambda\x00",
        "lambda " * 100_000,
        "\ud800 lambda",
    ],
)
def test_syntax_of_the_index_in_a_question_means_nothing(question: str) -> None:
    KNOWLEDGE.search(question)
    assert "service:serverless-function#aws-lambda" in found("aws lambda memory")


@given(st.text())
def test_any_text_can_be_asked(question: str) -> None:
    assert len(found(question, limit=2)) <= 2


def test_passages_are_ordered_and_limited() -> None:
    passages = KNOWLEDGE.search("azure storage", limit=5)
    assert len(passages) == 5
    assert [passage.score for passage in passages] == sorted((passage.score for passage in passages), reverse=True)
    assert KNOWLEDGE.search("azure storage", limit=2) == passages[:2]


def test_passage_names_its_title_and_its_own_source() -> None:
    (passage,) = [
        p for p in KNOWLEDGE.search("SQS message in Python", limit=5) if p.id == "article:messaging#amazon-sqs"
    ]
    assert passage.title == "Queues and messaging: Amazon SQS"
    assert passage.url.startswith("https://docs.aws.amazon.com/AWSSimpleQueueService/")
    assert "1 MiB" in passage.text
    assert "Source:" not in passage.text


def test_search_from_many_threads_builds_one_index() -> None:
    knowledge = Knowledge()
    results: list[list[str]] = []

    def ask() -> None:
        results.append([passage.id for passage in knowledge.search("dynamodb ttl")])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [results[0]] * 8
    assert results[0]


class Asked(NamedTuple):
    question: str


def turns(*questions: str) -> list[Asked]:
    return [Asked(question) for question in questions]


@pytest.mark.parametrize(
    ("before", "message", "passage"),
    [
        ("How long can a Lambda function run?", "And on Azure?", "article:serverless-functions#azure-functions-limits"),
        ("What is the size limit of an item in DynamoDB?", "and in azure?", "article:nosql-databases#azure-cosmos-db"),
        (
            "What is DynamoDB?",
            "How does it expire items?",
            "article:nosql-databases#amazon-dynamodb-expiry-streams-backup",
        ),
        ("How do I rotate a secret?", "And on Google Cloud?", "article:secrets#google-secret-manager"),
        ("How do I rotate a secret?", "azure?", "service:secrets-store#azure-key-vault-secrets"),
        ("What's the GCP counterpart of EventBridge?", "and on azure?", "service:event-bus"),
        ("Tell me about Cloud SQL.", "what would I use on AWS instead?", "service:relational-database#amazon-rds"),
        (
            "What is a NAT gateway?",
            "How much does it cost?",
            "article:networking#nat-gateways-leaving-without-a-public-address",
        ),
    ],
)
def test_follow_up_is_searched_with_the_question_before_it(before: str, message: str, passage: str) -> None:
    assert passage in found(contextual_query(message, turns("What is a VPC?", before)))


@pytest.mark.parametrize(
    "message",
    ["thanks!", "What is DynamoDB?", "Is there a queue on Azure?", "What does a NAT gateway cost in a month on AWS?"],
)
def test_message_that_stands_alone_is_searched_alone(message: str) -> None:
    assert contextual_query(message, turns("How long can a Lambda function run?")) == message


def test_first_message_is_searched_alone() -> None:
    assert contextual_query("And on Azure?", []) == "And on Azure?"


def test_what_was_found_stays_as_it_was_for_who_asks_next() -> None:
    first = KNOWLEDGE.search("What is a queue for?")
    expected = list(first)
    first.clear()
    assert KNOWLEDGE.search("What is a queue for?") == expected != []


def test_folder_of_the_operator_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "handbook.md").write_text("# Handbook\n\n## Badges\n\nBadges are at the gate.\n")
    (tmp_path / "plain.md").write_text("No heading: the printer is on floor three.")
    knowledge = Knowledge(str(tmp_path), str(tmp_path / "data"))
    (badge,) = knowledge.search("Where are the badges?")
    assert (badge.id, badge.title, badge.url) == ("article:deep/handbook#badges", "Handbook: Badges", "")
    assert [passage.id for passage in knowledge.search("printer floor")] == ["article:plain#introduction"]
    assert knowledge.search("aws lambda") == []


def test_missing_folder_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Knowledge(str(tmp_path / "nowhere"))
    assert caught.value.setting == "WORDUP_KNOWLEDGE_DIR"


def test_empty_folder_finds_nothing(tmp_path: Path) -> None:
    assert Knowledge(str(tmp_path), str(tmp_path / "data")).search("lambda") == []


def test_headings_in_code_cut_nothing_and_equal_headings_get_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("## Same\n\n```bash\n# no heading\n```\n\n## Same\n\nSecond.\n")
    first, second = read(tmp_path)
    assert (first.anchor, second.anchor) == ("same", "same-2")
    assert "# no heading" in first.text


def test_long_section_is_cut_between_paragraphs(tmp_path: Path) -> None:
    paragraphs = [f"{number} " + "word " * 100 for number in range(20)] + ["x" * 5_000]
    (tmp_path / "long.md").write_text("\n\n".join(paragraphs))
    parts = [section.text for section in read(tmp_path)]
    assert all(len(part) <= SECTION_CHARACTERS for part in parts)
    assert "".join("".join(parts).split()) == "".join("".join(paragraphs).split())


def test_every_shipped_passage_fits_into_a_prompt() -> None:
    shipped = list(read(SHIPPED))
    assert len({(section.document, section.anchor) for section in shipped}) == len(shipped)
    assert all(len(f"{section.title}\n{section.text}".encode()) < PASSAGE_BYTES - 20 for section in shipped)
