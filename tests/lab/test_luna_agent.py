"""What the agent does with appliances, partitions and PINs; each fault of a tool is in tests/story/test_matrix.py."""

from pathlib import Path

import pytest

from hsm_enrol import chrystoki
from hsm_enrol.errors import (
    CertificateNotAccepted,
    EnrolError,
    NoSlots,
    PinRefused,
)
from lab.luna.client import Switches
from lab.luna.estate import Estate
from lab.luna.generations import GENERATIONS as TABLE
from tests.lab.luna_agent import Agent, Tree, agent

# Appliances are threads of this process, so Python 3.12 and later warn of the fork; the real agent has no threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

COMMENT = "# kept by the site's own scripts"


def in_the_group(host: Agent) -> None:
    """The conf says so, whoever wrote it, and keeps what is the site's."""
    conf = chrystoki.parse(host.client.conf.read_text())
    (group,) = chrystoki.groups(conf).values()
    assert (group.label, group.members) == (host.estate.label, host.estate.members)
    servers = [(one.name, one.port) for one in chrystoki.servers(conf).values()]
    assert servers == [(one.address, str(one.port)) for one in host.estate.servers]
    assert chrystoki.get(conf, "HAConfiguration", "HAOnly") == "1"
    assert COMMENT in host.client.conf.read_text()


def no_pin_was_shown(host: Agent) -> None:
    for call in host.client.calls():
        assert not call.pin_elsewhere
        assert host.estate.pin not in "\0".join(call.argv)
    assert host.estate.pin not in host.said.getvalue()


@pytest.mark.parametrize("generation", ["5.1", "6.2", "silent"])
def test_the_agent_joins_without_the_tools_and_spends_no_pin(generation: str, estate: Estate, tmp_path: Path) -> None:
    host = agent(estate, generation, tmp_path, luna={"join": "config"})
    reached = host.enrol()
    assert (reached.ha.serial, reached.ha.slot) == ("1" + estate.members[0], TABLE[generation].first_slot)
    assert estate.tries == 0
    assert {one.command for one in host.client.calls()} <= {"", "verify", "show"}
    in_the_group(host)


def test_the_silent_client_gets_no_pin_and_the_editor_makes_the_group(estate: Estate, tmp_path: Path) -> None:
    host = agent(estate, "silent", tmp_path)
    host.enrol()
    assert estate.tries == 0
    assert "declined" in host.said.getvalue()
    in_the_group(host)
    no_pin_was_shown(host)


def test_a_minimal_client_and_a_linked_conf_are_joined_where_they_are(estate: Estate, tmp_path: Path) -> None:
    minimal = agent(estate, "10.4", tmp_path / "minimal", minimal=True)
    minimal.enrol()
    in_the_group(minimal)
    linked = agent(estate, "7.3", tmp_path / "linked", linked=True)
    linked.client.switch(Switches(rewrite="rename"))
    linked.enrol()
    assert linked.client.conf.is_symlink()
    in_the_group(linked)


def ends_undone(host: Agent, expected: type[EnrolError]) -> None:
    before: Tree = host.tree()
    with pytest.raises(expected):
        host.enrol()
    assert host.tree() == before


@pytest.mark.parametrize("generation", ["5.1", "10.4"])
def test_a_wrong_pin_costs_one_try_and_nothing_else(generation: str, estate: Estate, tmp_path: Path) -> None:
    host = agent(estate, generation, tmp_path)
    host.pin = "wrong-PIN"
    ends_undone(host, PinRefused)
    assert [one.tries for one in estate.partitions] == [1, 0]
    assert host.states == ["tried", "refused"]


def test_a_tool_that_asks_again_after_a_wrong_pin_gets_no_second_try(estate: Estate, tmp_path: Path) -> None:
    host = agent(estate, "6.2", tmp_path)
    host.pin = "wrong-PIN"
    host.client.switch(newGroup="retries")
    ends_undone(host, PinRefused)
    assert estate.tries == 1


def test_a_locked_partition_is_told_and_left_alone(estate: Estate, tmp_path: Path) -> None:
    estate.partitions[1].lock()
    host = agent(estate, "10.4", tmp_path)
    ends_undone(host, PinRefused)
    assert host.states == ["tried", "accepted", "tried", "refused"]


@pytest.mark.parametrize("away", [0, 1])
def test_a_host_joins_while_an_appliance_is_away(away: int, estate: Estate, tmp_path: Path) -> None:
    estate.appliances[away].down = True
    host = agent(estate, "7.3", tmp_path)
    host.enrol()
    in_the_group(host)
    assert f"member {estate.members[away]} is not visible now" in host.said.getvalue()


@pytest.mark.parametrize("trouble", ["ipcheck", "unknown client"])
def test_no_slots_at_all_ends_it_undone(trouble: str, estate: Estate, tmp_path: Path) -> None:
    for appliance in estate.appliances:
        appliance.ipcheck = trouble == "ipcheck"
        if trouble == "unknown client":
            appliance.forget(estate.client_name)
    ends_undone(agent(estate, "5.4", tmp_path), NoSlots if trouble == "ipcheck" else CertificateNotAccepted)
    assert estate.tries == 0


@pytest.mark.parametrize(("answer", "copies"), [("quit", 0), ("copy", 1)])
def test_existing_objects_are_never_removed(answer: str, copies: int, estate: Estate, tmp_path: Path) -> None:
    first = estate.partitions[0]
    first.objects = True
    host = agent(estate, "10.4", tmp_path, luna={"existing_objects": answer})
    host.enrol()
    in_the_group(host)
    assert (first.copies, first.removed, first.objects) == (copies, False, True)
