"""An operator's documents: read once, kept by digest, and left out by name where they cannot be read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from cli import extract, library
from wordup.retrieval import Knowledge

FILES = 2_000
HTML = """<html><head><title>Badge desk</title></head><body><nav>menu</nav>
<h2>Opening hours</h2><p>The badge desk opens at nine.</p>
<pre>badge --print</pre><script>steal()</script></body></html>"""


def pdf(path: Path, text: str) -> None:
    writer = PdfWriter()
    page = writer.add_blank_page(300, 300)
    stream = DecodedStreamObject()
    stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
    page[NameObject("/Contents")] = writer._add_object(stream)
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    writer.write(path)


@pytest.fixture
def handbook(tmp_path: Path) -> Path:
    folder = tmp_path / "handbook"
    folder.mkdir()
    (folder / "desk.html").write_text(HTML)
    (folder / "printer.md").write_text("# Printers\n\nThe zweihander printer is on floor three.\n")
    pdf(folder / "parking.pdf", "Parking bay quetzal is for visitors.")
    return folder


def build(handbook: Path, tmp_path: Path) -> library.Added:
    with library.opened(tmp_path / "data") as books:
        return books.add([handbook], lambda done, total: None)


def found(tmp_path: Path, query: str) -> list[str]:
    knowledge = Knowledge("", str(tmp_path / "data"))
    try:
        return [f"{passage.id}: {passage.text}" for passage in knowledge.search(query)]
    finally:
        knowledge.close()


def test_documents_of_every_kind_are_found_beside_what_ships(handbook: Path, tmp_path: Path):
    assert build(handbook, tmp_path).added == 3
    (desk,) = [each for each in found(tmp_path, "When does the badge desk open?") if "nine" in each]
    assert desk.startswith("article:handbook/desk#opening-hours: The badge desk")
    assert "menu" not in desk
    assert "steal" not in desk
    assert "floor three" in found(tmp_path, "zweihander printer")[0]
    assert found(tmp_path, "quetzal parking")[0].startswith("article:handbook/parking#page-1")
    assert found(tmp_path, "What is the Azure counterpart of SQS?")[0].startswith("service:message-queue")


def test_only_what_changed_is_read_again(handbook: Path, tmp_path: Path):
    build(handbook, tmp_path)
    (handbook / "printer.md").write_text("# Printers\n\nThe zweihander printer is on floor nine.\n")
    (handbook / "parking.pdf").unlink()
    again = build(handbook, tmp_path)
    assert (again.added, again.unchanged, again.removed) == (1, 1, 1)
    assert "floor nine" in found(tmp_path, "zweihander printer")[0]
    assert found(tmp_path, "quetzal") == []


def test_interrupted_build_goes_on_where_it_was(handbook: Path, tmp_path: Path):
    def interrupt(done: int, _total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), library.opened(tmp_path / "data") as books:
        books.add([handbook], interrupt)
    resumed = build(handbook, tmp_path)
    assert (resumed.added, resumed.unchanged) == (1, 2)


def test_two_thousand_files_are_built_by_one_command_that_was_interrupted(tmp_path: Path):
    folder = tmp_path / "machines"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:04}.md").write_text(f"# Machine {number}\n\nIts zweihander gate number {number} opens.\n")

    def interrupt(done: int, _total: int) -> None:
        if done == FILES // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), library.opened(tmp_path / "data") as books:
        books.add([folder], interrupt)
    command = [sys.executable, "-m", "cli.main", "knowledge", "build", str(folder), "--json"]
    environment = os.environ | {"WORDUP_DATA_DIR": str(tmp_path / "data")}
    built = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    counted = json.loads(built.stdout)
    assert (counted["added"], counted["unchanged"], counted["passages"]) == (FILES // 2, FILES // 2, FILES)
    assert any("number 1999" in each for each in found(tmp_path, "Which zweihander gate is number 1999?"))


def test_file_that_cannot_be_read_is_named_and_the_rest_built(
    handbook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(extract, "LARGEST_BYTES", 5_000)
    (handbook / "broken.pdf").write_bytes(b"%PDF-1.7 broken")
    (handbook / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (handbook / "front.md").write_text("+++\ntitle = \n+++\nText.")
    (handbook / "huge.md").write_text("word " * 2_000)
    (handbook / "outside.md").symlink_to("/etc/hostname")
    result = build(handbook, tmp_path)
    said = {Path(refused.file).name: refused.why for refused in result.refused}
    assert set(said) == {"broken.pdf", "binary.txt", "front.md", "huge.md"}
    assert "no PDF" in said["broken.pdf"]
    assert "not text" in said["binary.txt"]
    assert "larger than" in said["huge.md"]
    assert found(tmp_path, "zweihander printer")


def test_reader_that_never_ends_is_ended(handbook: Path, monkeypatch: pytest.MonkeyPatch):
    def forever(_content: bytes) -> str:
        while True:
            pass

    monkeypatch.setattr(extract, "SECONDS", 0.2)
    monkeypatch.setitem(extract._PARSED, ".html", forever)
    with pytest.raises(extract.Unreadable, match=r"more than 0 seconds"):
        extract.extracted(handbook / "desk.html")
