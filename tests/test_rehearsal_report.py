"""What a rehearsal writes into docs/operating.md is a run of all journeys in which all went as told."""

import subprocess
import sys
from pathlib import Path

import pytest

from lab.rehearsal.report import BEGIN, END, OPERATING, Row, conclude
from tests.documents import ROOT

GOOD: Row = {"journey": "first boot", "ok": True, "seen": "joined | active", "seconds": 7.5}
BAD: Row = {"journey": "second boot", "ok": False, "seen": "still activating", "seconds": 30.0}
BEFORE = f"# Operating\n\n{BEGIN}\nthe last good table\n{END}\n\nAnd so on.\n"

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "operating.md"
    path.write_text(BEFORE)
    return path


@pytest.mark.parametrize("rows", [[GOOD, BAD], []], ids=["one failed", "none was played"])
def test_a_failed_run_is_not_written_and_says_so(document: Path, capsys: Capture, rows: list[Row]) -> None:
    assert conclude(rows, 61, write=True, document=document) == 1
    assert document.read_text() == BEFORE
    said = capsys.readouterr()
    assert "operating.md stays as it is: a table of a failed run is not written" in said.err
    assert f"{len(rows) // 2} of {len(rows)} journeys as told, 61 s" in said.out
    assert ("**not as told**: still activating" in said.out) == (BAD in rows)
    assert conclude(rows, 61, write=False, document=document) == 1
    assert capsys.readouterr().err == ""


def test_a_good_run_replaces_the_table_and_nothing_else(document: Path, capsys: Capture) -> None:
    assert conclude([GOOD], 61, write=False, document=document) == 0
    assert document.read_text() == BEFORE
    assert conclude([GOOD], 61, write=True, document=document) == 0
    written = "| journey | seen | seconds |\n| --- | --- | --- |\n| first boot | joined / active | 7.5 |"
    assert document.read_text() == BEFORE.replace("the last good table", written)
    assert capsys.readouterr().err == ""


def test_what_the_document_shows_is_a_run_of_all_journeys_that_went_as_told() -> None:
    from lab.rehearsal.journeys import ALONE, LISTS

    shown = OPERATING.read_text().partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]
    played = [one.__name__.replace("_", " ") for journeys in (LISTS | ALONE).values() for one in journeys]
    assert [row.split(" | ")[0].removeprefix("| ") for row in shown] == played
    assert not [row for row in shown if "not as told" in row]


def test_some_journeys_do_not_replace_the_table_of_all() -> None:
    words = ["--only", "first_boot", "--write"]
    ran = subprocess.run(
        [sys.executable, "-m", "lab.rehearsal", *words],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 2
    assert "--write wants all journeys" in ran.stderr
