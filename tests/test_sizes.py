"""A file is one noun: what ships and the laboratory have none that is longer than a reader takes in."""

from tests.documents import ROOT

LONGEST = 250  # lines; most have far fewer


def test_no_file_is_longer_than_a_reader_takes_in() -> None:
    lines = {
        str(path.relative_to(ROOT)): path.read_text("utf-8").count("\n")
        for folder in ("agent", "verifier", "lab", "packaging")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert len(lines) > 250
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}
