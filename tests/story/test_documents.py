"""Every command that our documents show is run, in the order in which a reader comes upon it.

A new fenced block fails here until it is run, compared, or named below with the test that shows it.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsm_enrol.cli.grammar import parser as agents_parser
from hsm_verifier.__main__ import make_parser
from lab.rehearsal.journeys import verifying
from lab.rehearsal.verifier_host import FURTHER, SERVICE, SOCKET
from lab.world import World
from tests.documents import ROOT, bare, table
from tests.shown import Block, blocks, commands_in_prose
from tests.story.typist import Operator

# What cannot be run here: why, and the test that shows it.
NOT_RUN = {
    "apt-get install ./hsm-enrol-verifier.deb": "installs on this machine: test_what_ships_is_what_was_tested",
    "$EDITOR policy.toml": "a person's work: test_v10_v12_a_rule_admits_or_names_what_differs",
    "$EDITOR /var/lib/hsm-verifier/policy.toml": "a person's work: test_v10_v12_a_rule_admits_or_names_what_differs",
    **dict.fromkeys(
        (
            "systemctl start hsm-verifier",
            "systemctl enable --now hsm-verifier.socket hsm-verifier.service",
            "systemctl stop hsm-verifier.socket hsm-verifier.service",
            "systemctl enable --now hsm-verifier@2.service",
        ),
        "there is no systemd here: test_the_rehearsal_types_what_is_shown_for_systemd",
    ),
    "hsm-verifier aws-certs import ec2-guide.html": (
        "wants a page of AWS's: test_aws_certs_are_pinned_once_and_replaced_only_on_demand"
    ),
    "ln -s /run/hsm-enrol/hsm-enrol.prom /var/lib/prometheus/node-exporter/": (
        "links into another package's folder: test_node_exporter_shows_what_the_hourly_check_wrote"
    ),
    "python -m lab.bench.throughput --count 500": (
        "takes minutes: test_what_enrolments_leave_and_cost_is_what_sizing_says"
    ),
    "journalctl -x -u hsm-enrol -n 20": (
        "wants the journal: test_a_real_journal_holds_fields_and_shows_the_catalogs_words"
    ),
}
# Blocks that are no commands, and not what the command above printed: the test that compares or reads each.
READ_BY = {
    ("README.md", "", "hsm-enrol: identify: ask IMDS which instance this is"): (
        "test_the_transcript_in_readme_is_what_two_boots_print"
    ),
    ("README.md", "", "hsm-enrol: nothing to do: serial 1795541299 in group web-ha since 2026-11-24T17:28:29Z"): (
        "test_the_transcript_in_readme_is_what_two_boots_print"
    ),
    ("README.md", "toml", "[verifier]"): "test_the_settings_shown_are_settings",
    ("docs/man/hsm-enrol.toml.5", "toml", "[verifier]"): "test_the_settings_shown_are_settings",
    ("README.md", "ini", "[Unit]"): "test_each_unit_that_the_documents_show_is_one_that_systemd_takes",
    ("docs/operating.md", "ini", "[Unit]"): "test_each_unit_that_the_documents_show_is_one_that_systemd_takes",
    ("docs/json.md", "json", "{"): "test_every_transcript_of_a_fault_fits",
    ("docs/operating.md", "json", "{"): "test_the_rights_that_operating_shows_are_the_calls_that_the_verifier_makes",
    ("docs/protocol.md", "json", "{"): "test_the_documents_examples_are_vectors",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    # On loopback no source is an instance's own address.
    with World(tmp_path_factory.mktemp("documents"), named=False, policy='source = { mode = "off" }') as made:
        yield made


CHANGES = (
    (r"\bi-[0-9a-f]{17}\b|\b[0-9a-f]{12}\b", "ID"),
    (r"\b\d+ (s|min|h|d)\b", "AGE"),
    (r"\b\d{1,3}(\.\d{1,3}){3}\b", "ADDRESS"),
    (r"\d+", "N"),
    (r" +", " "),
)


def shape(text: str) -> list[str]:
    """What stays of an output from one run to the next."""
    for pattern, name in CHANGES:
        text = re.sub(pattern, name, text)
    return text.splitlines()


def test_every_command_shown_works_in_the_order_of_the_documents(world: World, tmp_path: Path) -> None:
    operator, document, told, run, compared = Operator(world, tmp_path), "", "", 0, 0
    for block in blocks():
        if block.document != document:
            document, told = block.document, ""
            operator.opens(document)
        if block.language == "sh":
            for line in block.lines:
                if line not in NOT_RUN:
                    told, run = operator.types(line), run + 1
        elif block.language == "text":
            assert shape(block.text) == shape(told), f"{block.name}: the output shown"
            compared += 1
    assert compared
    print(f"{run} commands run, {len(NOT_RUN)} listed as shown by other tests, {compared} outputs compared")


def nobody_reads(found: list[Block]) -> list[tuple[str, str, str]]:
    """Give the blocks that are neither run nor compared here, and that no other test is named for."""
    return [one.name for one in found if one.language not in {"sh", "text"} and one.name not in READ_BY]


def test_the_rehearsal_types_what_is_shown_for_systemd() -> None:
    shown = {line for block in blocks() for line in block.lines if line.startswith("systemctl ")}
    units = {"SOCKET": SOCKET, "SERVICE": SERVICE, "FURTHER": FURTHER}
    source = inspect.getsource(verifying)
    typed = [
        re.findall(r'"([^"]*)"|\b(SOCKET|SERVICE|FURTHER)\b', one)
        for one in re.findall(r"machine\.run\((.*)\)", source)
    ]
    assert shown <= {" ".join(word or units[name] for word, name in words) for words in typed}


def test_no_block_is_shown_that_no_test_reads() -> None:
    assert nobody_reads(blocks()) == []
    assert nobody_reads([Block("docs/new.md", "bash", ("hsm-enrol enrol",))]) == [
        ("docs/new.md", "bash", "hsm-enrol enrol")
    ]


def test_what_is_not_run_or_compared_here_is_shown_and_has_a_test() -> None:
    assert set(NOT_RUN) <= {line for block in blocks() if block.language == "sh" for line in block.lines}
    assert set(READ_BY) <= {block.name for block in blocks()}
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for test in [*(why.split(": ")[1] for why in NOT_RUN.values()), *READ_BY.values()]:
        assert f"def {test}(" in sources, test


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    chosen = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(chosen[0].choices) if chosen else {}


def test_every_command_within_a_sentence_exists_with_its_options() -> None:
    programs = {"hsm-enrol": agents_parser(), "hsm-verifier": make_parser()}
    for document, command in commands_in_prose():
        program, *words = command.split(" ")
        parser = programs[program]
        while words and subparsers(parser):
            if words[0] in {"--help", "COMMAND"}:
                break
            assert words[0] in subparsers(parser), f"{document}: {command}"
            parser = subparsers(parser)[words.pop(0)]
        known = {word for action in parser._actions for word in action.option_strings}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, f"{document}: {command}"


def test_each_known_trouble_is_found_by_what_the_table_says() -> None:
    rows = table("docs/operating.md", "What finds a known trouble", "trouble", "test")
    assert [row["trouble"].split(" ")[0] for row in rows] == [f"P{number}" for number in range(1, 23)]
    sources = {path: path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    tests = [bare(row["test"]) for row in rows]
    assert len(set(tests)) == len(tests), "a neighbour's test shows nothing"
    for row, test in zip(rows, tests, strict=True):
        where = [path for path, text in sources.items() if f"def {test}(" in text]
        assert len(where) == 1, test
        if row["found by"].startswith("`check`"):
            assert where[0].name in {"test_check.py", "test_pains.py"}, row
