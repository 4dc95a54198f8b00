"""Every generation of the client, both ways to join, every fault of a tool: joined, or byte for byte as before.

All of it with HSM_ENROL_EVERY_POINT=1 (`make crash`). Else each fault, at one of its commands, meets one client.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hsm_enrol.host.state import SERVER_PEM
from lab.luna.client import FAULTS, Switches
from lab.luna.estate import Estate
from tests.played_host import PlayedHost

EVERYTHING = bool(os.environ.get("HSM_ENROL_EVERY_POINT"))


@dataclass(frozen=True, slots=True)
class Kind:
    """One client as it may be found on a host."""

    name: str
    generation: str
    options: dict[str, Any] = field(default_factory=dict)


KINDS = (
    *(Kind(name, name) for name in ("5.1", "5.4", "6.2", "7.3", "10.4", "silent")),
    Kind("minimal", "10.4", {"minimal": True}),
    Kind("linked", "6.2", {"linked": True}),
)
JOINS = ("tool", "config")
JOINED = ""
# What each fault must come to, by the command that has it: the reason, or JOINED.
HARMLESS = {"flood": JOINED, "slow": JOINED}
STUCK = {"hang": "tool_timeout", "deaf": "tool_timeout", "hang-late": "tool_timeout"}
FAILING = {"error": "tool_failed", "fails": "tool_failed", "babble": "tool_failed", "crash": "tool_failed"}
DAMAGING = {"truncate": "tool_damage", "foreign-key": "tool_damage"}
ASKING = {
    "no-prompt": "tool_timeout",
    "hang-with-pin": "tool_timeout",
    "asks-twice": "tool_failed",
    "echoes": JOINED,
    "leaves-echo": JOINED,
    "retries": JOINED,  # only a wrong PIN makes it ask again
}
WORDS = {"usage": JOINED, "lies": "tool_failed", "mumbles": JOINED}
UNPROVEN = {"error": "not_proven", "fails": "not_proven", "babble": "not_proven", "crash": "not_proven"}
OUTCOMES: dict[str, dict[str, str]] = {
    "addServer": {**HARMLESS, **STUCK, **FAILING, **DAMAGING, "lies": "tool_failed", "litter": JOINED},
    "verify": {**HARMLESS, **STUCK, **FAILING, "no-slots": "no_slots", "pkcs1-only": JOINED},
    "newGroup": {**HARMLESS, **STUCK, **FAILING, **DAMAGING, **ASKING, **WORDS, "label-used": "tool_failed"},
    "addMember": {**HARMLESS, **STUCK, **FAILING, **DAMAGING, **ASKING},
    "show": {
        **HARMLESS,
        **STUCK,
        **UNPROVEN,
        "show-nothing": "not_proven",
        "show-longer": "not_proven",
        "no-slots": JOINED,
    },
}
CASES = [(command, fault) for command, faults in OUTCOMES.items() for fault in faults]
WITH_CONFIG = [case for case in CASES if case[0] in {"verify", "show"}]
# What `silent`, which takes the PIN as an argument only, meets before it declines.
BEFORE_THE_SYNTAX = {"error", "fails", "babble", "crash", "hang", "deaf"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One run with a tool that has a fault."""

    kind: Kind
    join: str
    command: str
    fault: str

    def __str__(self) -> str:
        return f"{self.kind.name}-{self.join}-{self.command}-{self.fault}"

    @property
    def reason(self) -> str:
        """Give the reason that the run ends with, or JOINED."""
        declines = self.kind.generation == "silent" and self.join == "tool"
        if declines and self.command == "newGroup" and self.fault == "mumbles":
            return "tool_failed"  # in words that nobody knows, "I take it as an argument only" is a failure
        if declines and self.command == "newGroup" and self.fault not in BEFORE_THE_SYNTAX:
            return JOINED
        if declines and self.command == "addMember":
            return JOINED
        if (self.join, self.command) == ("config", "verify") and self.fault in {*FAILING, "no-slots"}:
            return JOINED  # the group's own rows prove as well as verify does
        return OUTCOMES[self.command][self.fault]


def cells() -> list[Cell]:
    """Give every cell, or in CI each fault once with each way to join; commands and clients take turns."""
    found = []
    for join in JOINS:
        cases = CASES if join == "tool" else WITH_CONFIG
        for at, (command, fault) in enumerate(cases if EVERYTHING else in_turn(cases)):
            turns = KINDS if EVERYTHING else [KINDS[at % len(KINDS)]]
            found += [Cell(kind, join, command, fault) for kind in turns]
    return found


def in_turn(cases: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Give each fault once, at the next of its commands each time."""
    commands: dict[str, list[str]] = {}
    for command, fault in cases:
        commands.setdefault(fault, []).append(command)
    return [(places[at % len(places)], fault) for at, (fault, places) in enumerate(commands.items())]


@pytest.fixture(scope="module")
def estate() -> Iterator[Estate]:
    with Estate() as running:
        yield running


def test_every_fault_of_the_laboratory_is_in_the_matrix() -> None:
    assert {fault for _, fault in CASES} == FAULTS
    print(f"matrix: {len(cells())} of {len(KINDS) * (len(CASES) + len(WITH_CONFIG))} cells")


@pytest.mark.parametrize("cell", cells(), ids=str)
def test_joined_or_as_before(cell: Cell, estate: Estate, tmp_path: Path) -> None:
    host = PlayedHost(tmp_path / "host", estate, cell.kind.generation, join=cell.join, **cell.kind.options)
    host.client.switch(Switches(faults={cell.command: (cell.fault,)}))
    if cell.reason == "tool_timeout":
        host.set(tool_timeout=1.5)
    link = host.client.conf.readlink() if host.client.conf.is_symlink() else None
    if cell.reason:
        error = host.fails(host.take)
        assert (error.reason, error.status) == (cell.reason, 69)
        assert host.courier.told[-1]["result"] == ("trying" if host.pin_state == "tried" else "failed")
    else:
        joins(host)
    assert link is None or host.client.conf.readlink() == link
    assert not host.path(SERVER_PEM).exists()
    assert host.pins() <= len(estate.members) + (cell.fault == "asks-twice")
    assert not any(call.pin_elsewhere for call in host.client.calls())
    assert estate.pin not in repr(host.client.calls())


def joins(host: PlayedHost) -> None:
    """It joins, nothing is left to mend, and what is the site's is as it was."""
    assert host.take().how == "joined"
    assert host.mend() is False
    host.assert_no_litter()
    assert host.courier.told[-1]["result"] == "installed"
    assert host.meaning["Site", "Contact"] == "hsm team, room 5"
    assert "# kept by the site's own scripts" in host.conf
    assert host.meaning["VirtualToken", "VirtualToken00Members"] == ",".join(host.estate.members)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_law_both_ways_to_join_end_in_the_same_meaning_of_the_file(kind: Kind, estate: Estate, tmp_path: Path) -> None:
    meanings = []
    for join in JOINS:
        host = PlayedHost(tmp_path / join, estate, kind.generation, join=join, **kind.options)
        joins(host)
        meanings.append(host.meaning)
    assert meanings[0] == meanings[1]
