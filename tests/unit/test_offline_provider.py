"""The answers of the provider that quotes."""

import pytest

from wordup.providers.base import CompletionRequest, Delta, Finish, Message
from wordup.providers.offline import DELTA_CHARACTERS, OfflineProvider
from wordup.questions import in_context
from wordup.retrieval import Knowledge

KNOWLEDGE = Knowledge()
PROVIDER = OfflineProvider()


async def answered(*questions: str, max_tokens: int = 1_000) -> tuple[str, Finish]:
    """The answer to the last question of a conversation."""
    *earlier, last = questions
    said = [Message("system", "Answer.")]
    for question in earlier:
        said += [Message("user", question), Message("assistant", "An answer.")]
    passages = KNOWLEDGE.search(in_context(last, earlier[-1] if earlier else ""))
    request = CompletionRequest(
        model="extract",
        messages=[*said, Message("user", last)],
        max_tokens=max_tokens,
        timeout=5,
        passages=passages,
    )
    *deltas, finish = [item async for item in PROVIDER.stream(request)]
    assert isinstance(finish, Finish)
    assert all(isinstance(delta, Delta) and len(delta.text) <= DELTA_CHARACTERS for delta in deltas)
    return "".join(delta.text for delta in deltas if isinstance(delta, Delta)), finish


@pytest.mark.parametrize(
    ("questions", "holds"),
    [
        (["How long can a Lambda function run?"], "AWS Lambda, timeout, longest run: **900 seconds (15 minutes)"),
        (["How long can a Lambda function run?", "And on Azure?"], "unbounded; default 30 minutes"),
        (
            ["What is the Azure counterpart of SQS?"],
            "- Azure: **[Azure Service Bus queue](https://learn.microsoft.com/",
        ),
        (["Which GCP service is like DynamoDB?"], "- Google Cloud: **[Firestore]("),
        (["Name the Azure counterpart of Pub/Sub"], "- Azure: **[Azure Event Hubs]("),
        (["Name the Azure counterpart of Pub/Sub"], "- Azure: **[Azure Service Bus topic]("),
        (["How large can an SQS message be?"], "1 MiB"),
        (["How do I upload a file to Google Cloud Storage in Python?"], "upload_from_filename"),
        (["What is object storage?"], "Files under a key"),
        (["Was kostet S3?"], "Amazon S3: GB-months by class"),
        (["Wie lange darf eine Lambda-Funktion laufen?"], "*Ich laufe offline, ohne Sprachmodell.*"),
        (["What is the difference between SNS and SQS?"], "SNS pushes and keeps nothing"),
        (["SNS or Cloud Tasks?"], "**Task queue** ["),
        (["SNS or Cloud Tasks?"], "**Publish and subscribe** ["),
        (["Everything of ours is in BigQuery, and the new firm sits on AWS"], "[1]\n\n- AWS: **[Amazon Redshift]"),
        (["EKS or ECS, what are the differences?"], "**Containers: ECS or EKS: which one should I take?** ["),
        (["Compare S3 and Blob Storage in price"], "- Amazon S3: GB-months by class"),
        (["How do I stop EC2 at night?"], "aws scheduler create-schedule"),
        (["How many CPUs may Azure Data Explorer have?"], "This figure is not in my built-in knowledge"),
    ],
)
async def test_answer_quotes_what_was_asked(questions: list[str], holds: str) -> None:
    text, finish = await answered(*questions)
    assert holds in text
    assert finish.finish_reason == "stop"


async def test_answer_says_that_it_is_offline_and_names_its_passages() -> None:
    text, _ = await answered("How large can an SQS message be?")
    assert text.startswith("*I am running offline, without a language model.*")
    assert "**Message queue** [" in text
    assert "([source](https://docs.aws.amazon.com/AWSSimpleQueueService/" in text


async def test_code_is_quoted_only_when_asked_for() -> None:
    text, _ = await answered("What is the size limit of an S3 object?")
    assert "```" not in text
    text, _ = await answered("Show me code for a presigned URL on S3")
    assert "generate_presigned_url" in text


async def test_question_without_a_passage_is_told_what_can_be_asked() -> None:
    text, _ = await answered("Which lasagna recipe is best?")
    assert "has nothing about this" in text
    assert "queues and messaging" in text


@pytest.mark.parametrize("message", ["Hello!", "What can you do?", "thanks"])
async def test_small_talk_is_greeted(message: str) -> None:
    text, _ = await answered(message)
    assert "Hello! Ask me about" in text


async def test_conversation_is_remembered() -> None:
    earlier = ["What is a VPC?", "How large can an SQS message be?"]
    assert "“How large can an SQS message be?”" in (await answered(*earlier, "What did I ask before?"))[0]
    assert "“What is a VPC?”" in (await answered(*earlier, "What was my first question?"))[0]
    everything, _ = await answered(*earlier, "Which questions have I asked?")
    assert "1. What is a VPC?\n2. How large can an SQS message be?" in everything
    assert "first question" in (await answered("What did I ask before?"))[0]


async def test_answer_ends_within_its_tokens() -> None:
    text, finish = await answered("What is object storage?", max_tokens=20)
    assert len(text.encode()) == 80
    assert finish == Finish(finish_reason="length", input_tokens=8, output_tokens=20)


async def test_same_question_gives_the_same_answer() -> None:
    assert await answered("What is IAM?") == await answered("What is IAM?")


async def test_pasted_text_is_summarised_by_its_own_sentences() -> None:
    filler = " ".join(f"Alpha{number} beta{number} gamma{number}." for number in range(20))
    central = "The migration moves the orders database to Aurora, and the orders service follows the database."
    text = f"Summarise this text for me:\n\nThe orders database is old. {filler} {central} Aurora runs the database."
    answer, _ = await answered(text)
    assert f"- {central}" in answer
    assert answer.count("\n- ") == 6
    assert "See also" not in answer
