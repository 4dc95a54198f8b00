"""`hsm-enrol explain` knows every word that an operator can meet, and says nothing that the code does not."""

import json
import re

import pytest

from hsm_enrol.cli.main import main
from hsm_enrol.errors import STATUSES, catalogue
from hsm_enrol.events import EVENTS
from hsm_enrol.explain import VERIFIERS_WORDS, explain, words
from hsm_enrol.wire.messages import REASONS
from tests.documents import bare, table

Capture = pytest.CaptureFixture[str]
IDS = [kind.message_id for kind in catalogue()] + [event.message_id for event in EVENTS]


def explained(capsys: Capture, *argv: str) -> str:
    assert main(["explain", *argv]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("word", [*words(), *IDS])
def test_each_word_is_explained_within_80_columns(capsys: Capture, word: str) -> None:
    text = explained(capsys, word)
    assert "happened" in text
    prose = [line for line in text.splitlines() if not re.match(r"  next ", line)]
    assert max(map(len, prose)) <= 80
    told = json.loads(explained(capsys, word, "--json"))
    assert (told["schema"], told["ok"]) == (1, True)
    assert len(told["meanings"]) == text.count("happened")


def test_the_verifiers_words_are_the_protocols_with_their_exit_statuses() -> None:
    assert [one.word for one in VERIFIERS_WORDS] == list(REASONS)
    documented = {bare(row["reason"]): int(row["exit"]) for row in table("docs/protocol.md", "Reasons", "exit")}
    assert {one.word: one.status for one in VERIFIERS_WORDS} == documented
    for one in VERIFIERS_WORDS:
        assert one.happened, one.word
        assert one.do, one.word
        assert one.then.startswith(("hsm-", "timedatectl")), one.word


def test_a_word_of_both_parties_has_both_meanings() -> None:
    assert [one.kind for one in explain("already_enrolled")] == ["fault", "verifier"]


def test_an_exit_status_names_the_reasons_behind_it() -> None:
    for status in STATUSES:
        (one,) = explain(str(status))
        assert set(one.reasons) == {kind.reason for kind in catalogue() if kind.status == status}


def test_a_word_with_hyphens_or_capitals_is_found() -> None:
    assert explain("PIN-refused") == explain("pin_refused") != ()


def test_a_strange_word_is_usage_and_the_nearest_one_is_offered(capsys: Capture) -> None:
    assert main(["explain", "refusde"]) == 64
    assert capsys.readouterr().err.splitlines()[0].endswith("is called 'refusde'; refused?")
    assert main(["explain", "\x1b[31m"]) == 64
    assert "\x1b" not in capsys.readouterr().err


def test_each_next_command_of_ours_is_a_command() -> None:
    from hsm_enrol.cli.commands import TABLE

    for one in (*VERIFIERS_WORDS, *(meaning for kind in catalogue() for meaning in explain(kind.reason))):
        assert one.then
        if match := re.match(r"(?:sudo )?hsm-enrol (?:-v )?(\S+)", one.then):
            assert match[1] in {*TABLE, "COMMAND"}, one.word
