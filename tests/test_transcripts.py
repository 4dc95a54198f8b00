"""What an operator sees of each fault: compared with transcripts that people have read."""

import re

import pytest

from hsm_enrol.errors import EnrolError, catalogue
from tests.transcripts.make import FACTS, HERE, in_json, occurrence, on_a_terminal

ANEW = "read the difference, then: python -m tests.transcripts.make"
KINDS = pytest.mark.parametrize("kind", catalogue(), ids=lambda kind: kind.reason)


@KINDS
def test_a_terminal_shows_what_the_transcript_shows(kind: type[EnrolError]) -> None:
    shown = on_a_terminal(occurrence(kind))
    assert shown == (HERE / f"{kind.reason}.txt").read_text(), ANEW
    for line in shown.splitlines():
        assert len(line) <= 80 or " next: " in line or " " not in line.strip()
    heads = re.findall(r"^hsm-enrol: (hint: |next: )?", shown, re.MULTILINE)
    assert heads == ["", "hint: ", "next: "]


@KINDS
def test_json_prints_what_the_transcript_shows(kind: type[EnrolError]) -> None:
    assert in_json(occurrence(kind)) == (HERE / f"{kind.reason}.json").read_text(), ANEW


def test_a_refusal_names_the_decision_to_look_up() -> None:
    decided = {kind.reason for kind in catalogue() if occurrence(kind).decision is not None}
    assert decided == {"refused", "already_enrolled", "try_later"}
    for reason in decided:
        assert str(FACTS[reason]["decision"]) in (HERE / f"{reason}.txt").read_text()


def test_there_is_no_transcript_of_a_fault_that_is_gone() -> None:
    reasons = {kind.reason for kind in catalogue()}
    assert {path.stem for path in HERE.iterdir() if path.suffix in {".txt", ".json"}} == reasons
    assert set(FACTS) == reasons
