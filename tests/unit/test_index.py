"""The index: the same bytes from the same sources, readable where nothing can be written, and what it is made of."""

from pathlib import Path

import pytest

from wordup import documents, index, services
from wordup.errors import ConfigurationError
from wordup.providers.base import Passage
from wordup.retrieval import Knowledge

QUEUES = """
[[service]]
id = "message-queue"
concept = "Message queue"
aliases = ["queue", "message broker"]
summary = "Messages wait until someone works on them."
compare = "SQS has queues alone; Service Bus adds topics and sessions."
[[service.aws]]
name = "Amazon SQS"
aliases = ["Simple Queue Service"]
line = "A managed queue."
price = "By the request."
url = "https://aws.example/sqs"
checked = 2026-11-21
limits = [{ what = "message size", value = "1 MiB", source = "https://aws.example/quotas", checked = 2026-11-21 }]
[[service.azure]]
name = "Azure Service Bus"
was = ["Windows Azure Service Bus"]
line = "Queues and topics."
price = "By the operation."
url = "https://azure.example/bus"
checked = 2026-11-21
[[service]]
id = "event-stream"
concept = "Event stream"
summary = "Ordered records."
compare = "All three keep records by partition."
[[service.aws]]
name = "Amazon Kinesis Data Streams"
line = "Shards of ordered records."
price = "By the shard hour."
url = "https://aws.example/kinesis"
checked = 2026-11-21
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "messaging.toml").write_text(QUEUES)
    (tmp_path / "badges.md").write_text('+++\ntitle = "Badges"\nsources = ["https://a.example"]\n+++\nAt the gate.\n')
    return tmp_path


def search(folder: Path, query: str) -> list[Passage]:
    knowledge = Knowledge(str(folder), str(folder / "data"))
    try:
        return knowledge.search(query)
    finally:
        knowledge.close()


def test_same_sources_give_the_same_bytes(folder: Path):
    for name in ("one.db", "other.db"):
        index.build(folder, folder / name)
    assert (folder / "one.db").read_bytes() == (folder / "other.db").read_bytes()


def test_index_is_read_from_a_folder_that_cannot_be_written(folder: Path):
    index.current(folder, folder / "data")
    before = sorted(path.name for path in (folder / "data").iterdir())
    (folder / "data").chmod(0o555)
    assert search(folder, "badges")
    assert sorted(path.name for path in (folder / "data").iterdir()) == before


def test_index_follows_its_sources(folder: Path):
    assert search(folder, "printer") == []
    (folder / "printer.md").write_text("# Printers\n\nThe printer is on floor three.\n")
    assert [passage.id for passage in search(folder, "printer")] == ["article:printer#printers"]
    assert len(list((folder / "data").iterdir())) == 1


@pytest.mark.parametrize(
    "question",
    [
        "What is the Azure counterpart of SQS?",
        "What is Simple Queue Service called in Azure?",
        "simplequeueservice",
        "Sevice Bus",
        "Windows Azure Service Bus",
        "Was ist das Gegenstück zu SQS in Azure?",
        "Quel est l'équivalent de SQS sur Azure ?",
        "¿Cuál es el equivalente de SQS en Azure?",
        "Qual è l'equivalente di SQS su Azure?",
        "Qual é o equivalente do SQS no Azure?",
        "Jaki jest odpowiednik SQS w Azure?",
        "SQS 在 Azure 上对应什么？",
    ],
)
def test_question_finds_the_entry_by_any_name(folder: Path, question: str):
    first = search(folder, question)[0]
    assert first.id.startswith("service:message-queue")
    assert first.service is not None
    assert first.service.azure[0].name == "Azure Service Bus"


@pytest.mark.parametrize(
    "question", ["Wie sichere ich Zugangsdaten?", "¿Dónde guardo una contraseña?", "Où est le pare-feu ?"]
)
def test_words_of_other_languages_that_no_document_holds_find_nothing(folder: Path, question: str):
    assert search(folder, question) == []


def test_typo_in_a_product_is_understood(folder: Path):
    assert search(folder, "kinessis shards")[0].id.startswith("service:event-stream")


def test_entry_is_told_within_a_passage(folder: Path):
    (entry,) = [service for service in services.load(folder / "services") if service.id == "message-queue"]
    text = services.described(entry, ["aws"], 1_800)
    assert "- Azure: Azure Service Bus" in text
    assert "Amazon SQS, message size: 1 MiB" in text
    assert len(services.described(entry, [], 200)) <= 200


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ('name = "Amazon SQS"', "messaging.toml, entry message-queue: Object missing required field `name`"),
        ("[[service]]", "messaging.toml: "),
        ('id = "message-queue"', "messaging.toml, entry number 1: Object missing required field `id`"),
    ],
)
def test_error_in_the_table_names_file_and_entry(folder: Path, broken: str, said: str):
    (folder / "services" / "messaging.toml").write_text(QUEUES.replace(broken, "", 1))
    with pytest.raises(ConfigurationError) as caught:
        services.load(folder / "services")
    assert said in caught.value.sentence


def test_file_that_is_no_index_is_explained(folder: Path):
    file = index.current(folder, folder / "data")
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        search(folder, "anything")


def test_keywords_of_a_section_find_it_and_are_not_quoted():
    first, second = documents.sections("gates", "# Gates\n\nHigh.\n\n## Locks\n\nKeywords: bolt, latch\n\nOf steel.\n")
    assert (first.keywords, second.keywords, second.text) == ("", "bolt, latch", "Of steel.")


def test_front_matter_in_toml_names_title_and_source(folder: Path):
    (section,) = documents.read(folder)
    assert (section.title, section.url, section.text) == ("Badges", "https://a.example", "At the gate.")
    with pytest.raises(ConfigurationError, match="broken"):
        list(documents.sections("broken", "+++\ntitle = \n+++\nText."))


def test_a_name_in_code_or_an_address_stays_a_name(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "messaging.toml").write_text(QUEUES.replace("Amazon SQS", "Amazon Queuer"))
    (tmp_path / "a.md").write_text("# Work\n\nRun `aws queuer list`, see https://queuer.example/queuer.\n")
    assert "service:message-queue#amazon-queuer" in [each.id for each in search(tmp_path, "Queuer gurgles blue fjords")]
