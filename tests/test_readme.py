"""README's tables and commands are the code's."""

import re

import pytest

from hsm_enrol.cli import commands
from hsm_enrol.errors import STATUSES, catalogue
from hsm_enrol.explain import filled
from hsm_enrol.settings import parse
from lab import fault_tables
from tests.documents import ROOT, bare, table, text_of
from tests.shown import blocks

README = "README.md"


def test_each_exit_status_and_reason_is_in_the_table() -> None:
    found = {int(row["exit"]): set(re.findall(r"`(\w+)`", row["reasons"])) for row in table(README, "Operate", "exit")}
    expected: dict[int, set[str]] = {0: set(), 1: set()}
    for kind in catalogue():
        expected.setdefault(kind.status, set()).add(kind.reason)
    assert found == expected
    assert list(found) == sorted(found)


def test_each_exit_status_means_what_the_code_says() -> None:
    assert {int(row["exit"]): row["means"] for row in table(README, "Operate", "exit")} == STATUSES


@pytest.mark.parametrize("name", fault_tables.DOCUMENTS)
def test_the_list_of_faults_is_the_codes(name: str) -> None:
    text = text_of(name)
    made = fault_tables.DOCUMENTS[name]()
    assert made in text, "write it anew: python -m lab.fault_tables"
    assert fault_tables.renewed(text, made) == text
    for kind in catalogue():
        assert made.count(kind.message_id) == 1


def test_each_fault_is_readable_in_the_rendered_table() -> None:
    rows = {bare(row["reason"]): row for row in table(README, "Faults", "MESSAGE_ID")}
    for kind in catalogue():
        row = rows.pop(kind.reason)
        assert (row["fault"], row["what to do"]) == (filled(kind.says), filled(kind.hint))
        assert (int(row["exit"]), bare(row["MESSAGE_ID"])) == (kind.status, kind.message_id)
    assert not rows


def test_each_command_is_in_the_table() -> None:
    assert [bare(row["command"]) for row in table(README, "Operate", "command")] == list(commands.TABLE)


def test_each_row_against_an_attacker_names_a_test_that_exists() -> None:
    rows = table(README, "What an attacker could try", "test")
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    missing = [row["test"] for row in rows if not re.search(rf"def {bare(row['test'])}\(", sources)]
    assert missing == []
    print(f"{len(rows)} attacks, each with its test")


def test_each_make_target_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`", text_of(README)))
    assert {"demo", "test"} <= named <= targets


def test_links_lead_somewhere() -> None:
    for document in (ROOT / README, *(ROOT / "docs").glob("*.md")):
        prose = re.sub(r"`[^`\n]*`", "", document.read_text("utf-8"))
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", prose):
            assert "://" in link or (document.parent / link).exists(), f"{document.name}: {link}"


def test_files_that_readme_names_are_there() -> None:
    for path in re.findall(r"`((?:tests|lab|systemd|docs)/[^` ]+)`", text_of(README)):
        assert (ROOT / path).exists(), path


def test_the_settings_shown_are_settings() -> None:
    shown = [one for one in blocks() if one.language == "toml"]
    assert {one.document for one in shown} == {README, "docs/man/hsm-enrol.toml.5"}
    for one in shown:
        assert parse(one.text.encode(), one.document).verifier.urls[0] == "https://vp1.example:8443"


def test_make_clean_takes_each_folder_that_make_fills() -> None:
    kept = {line.rstrip("/") for line in text_of(".gitignore").splitlines() if line.endswith("/")}
    filled = {name for name in kept if "cache" not in name and name not in {"*.egg-info", ".hypothesis"}}
    (command,) = re.findall(r"^clean:\n\trm -rf (.+)$", text_of("Makefile"), re.MULTILINE)
    assert set(command.split()) == filled
