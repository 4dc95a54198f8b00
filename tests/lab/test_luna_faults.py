"""Every switch of the stand-in tools shows its effect, seen through the runner that the agent uses."""

import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form

from hsm_enrol import luna
from hsm_enrol.host import tools
from hsm_enrol.host.tools import ToolRun
from lab.luna.client import FAULTS, Switches
from lab.luna.estate import Estate
from tests.lab.luna_hand import DIALECT, Hand, host

# Appliances are threads of this process, so Python 3.12 and later warn of the fork; the real agent has no threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def nothing_was_done(hand: Hand, ran: ToolRun) -> None:
    assert not ran.pin_sent
    assert hand.estate.tries == 0
    assert "VirtualToken00Label" not in hand.conf()


def found(hand: Hand, fault: str) -> ToolRun:
    """Found the group with a fault switched on."""
    hand.client.switch(newGroup=fault)
    return hand.new_group()


def began(hand: Hand) -> bool:
    """Tell whether a tool has understood its words."""
    return any(one.command for one in hand.client.calls())


def has_pin(hand: Hand) -> bool:
    return any(one.pins for one in hand.client.calls())


def has_group(hand: Hand) -> bool:
    return "VirtualToken00Members" in hand.conf()


def error(hand: Hand) -> None:
    ran = found(hand, "error")
    assert (ran.status, luna.is_error(ran.output), luna.is_usage(ran.output)) == (0, True, False)
    nothing_was_done(hand, ran)


def fails(hand: Hand) -> None:
    ran = found(hand, "fails")
    assert (ran.status, luna.is_error(ran.output)) == (1, True)
    nothing_was_done(hand, ran)


def babble(hand: Hand) -> None:
    ran = found(hand, "babble")
    assert (ran.status, luna.is_error(ran.output), luna.is_usage(ran.output)) == (0, False, False)
    nothing_was_done(hand, ran)
    hand.client.switch(verify="babble")
    assert hand.verify() is None


def usage(hand: Hand) -> None:
    ran = found(hand, "usage")
    assert luna.is_usage(ran.output)
    nothing_was_done(hand, ran)


def crash(hand: Hand) -> None:
    ran = found(hand, "crash")
    assert (ran.status, ran.timed_out) == (None, False)
    nothing_was_done(hand, ran)


def hang(hand: Hand) -> None:
    hand.stop = lambda: began(hand)
    ran = found(hand, "hang")
    assert (ran.status, ran.stopped) == (None, True)
    nothing_was_done(hand, ran)


def deaf(hand: Hand) -> None:
    hand.client.switch(listServers="deaf")
    with subprocess.Popen([hand.client.tool("vtl"), "listServers"]) as process:
        try:
            wait_for(lambda: ignores(process.pid, signal.SIGTERM))
        finally:
            process.kill()


def hang_with_pin(hand: Hand) -> None:
    hand.stop = lambda: has_pin(hand)
    ran = found(hand, "hang-with-pin")
    assert (ran.stopped, ran.pin_sent) == (True, True)
    assert hand.estate.tries == 0
    assert [one.pins for one in hand.client.calls()] == [1]


def hang_late(hand: Hand) -> None:
    hand.stop = lambda: has_group(hand)
    ran = found(hand, "hang-late")
    assert (ran.stopped, ran.pin_sent) == (True, True)
    assert hand.estate.tries == 1
    assert hand.conf()["VirtualToken00Label"] == hand.estate.label


def truncate(hand: Hand) -> None:
    hand.client.switch(addServer="truncate")
    ran = hand.run("vtl", "addServer", "-n", "other.lab", "-c", hand.server_file())
    assert ran.status is None
    left = hand.client.conf.read_text()
    assert left.startswith("Chrystoki2 = {\n")
    assert left.count("{") == left.count("}") + 1  # in the middle of a section
    assert "Site" not in left


def foreign_key(hand: Hand) -> None:
    assert hand.conf()["DefaultTimeOut"] == "500000"
    found(hand, "foreign-key")
    assert hand.conf()["DefaultTimeOut"] == "1"


def no_prompt(hand: Hand) -> None:
    hand.timeout = 1.0
    ran = found(hand, "no-prompt")
    assert (ran.timed_out, ran.asked) == (True, False)
    nothing_was_done(hand, ran)


def asks_twice(hand: Hand) -> None:
    ran = found(hand, "asks-twice")
    assert (ran.status, ran.pin_sent, ran.asked_again) == (None, True, True)
    assert not luna.pin_refused(ran.after_pin)
    assert hand.estate.tries == 0


def retries(hand: Hand) -> None:
    hand.client.switch(newGroup="retries")
    ran = hand.new_group(pin="wrong-PIN")
    assert (ran.status, ran.asked_again) == (None, True)
    assert luna.pin_refused(ran.after_pin)
    assert hand.estate.tries == 1


def echoes(hand: Hand) -> None:
    ran = found(hand, "echoes")
    assert ran.status == 0
    assert "Using the password " + "*" * len(hand.estate.pin) in ran.after_pin  # blotted out by the runner


def leaves_echo(hand: Hand) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tools._Talk, "_echo_off", lambda _: None)  # a careless caller
        ran = found(hand, "leaves-echo")
        assert "*" * len(hand.estate.pin) in ran.output
        hand.client.switch()
        careful = hand.add_member("1" + hand.estate.members[0])
    assert careful.pin_sent
    assert "*" not in careful.output


def flood(hand: Hand) -> None:
    ran = found(hand, "flood")
    assert len(ran.output) > tools.CAP - 1024  # the runner counts before it mends line ends
    assert luna.group_number(ran.output) == "1" + hand.estate.members[0]


def slow(hand: Hand) -> None:
    ran = found(hand, "slow")
    assert (ran.status, ran.asked_again) == (0, False)
    assert luna.group_number(ran.output) == "1" + hand.estate.members[0]


def no_slots(hand: Hand) -> None:
    hand.client.switch(verify="no-slots")
    assert hand.verify() == ()
    hand.client.switch()
    assert hand.verify() == hand.estate.members


def label_used(hand: Hand) -> None:
    ran = found(hand, "label-used")
    assert "for the new group has already been used" in ran.output
    assert luna.is_error(ran.output)
    nothing_was_done(hand, ran)


def show_nothing(hand: Hand) -> None:
    hand.put_group()
    hand.client.switch(show="show-nothing")
    ran = hand.show()
    assert (ran.status, luna.groups(ran.output)) == (0, ())


def show_longer(hand: Hand) -> None:
    hand.put_group()
    hand.client.switch(show="show-longer")
    assert [one.label for one in luna.groups(hand.show().output)] == [hand.estate.label + "-old"]


def lies(hand: Hand) -> None:
    before = hand.client.conf.read_bytes()
    ran = found(hand, "lies")
    assert luna.group_number(ran.output) == "1" + hand.estate.members[0]
    assert hand.client.conf.read_bytes() == before
    assert hand.estate.tries == 1


def mumbles(hand: Hand) -> None:
    ran = found(hand, "mumbles")
    assert (ran.status, luna.is_error(ran.output), luna.group_number(ran.output)) == (0, False, None)
    assert hand.conf()["VirtualToken00Label"] == hand.estate.label


def pkcs1_only(hand: Hand) -> None:
    key = hand.client.below("cert/client/webKey.pem")
    loaded = form.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(loaded.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
    assert hand.verify() == hand.estate.members
    hand.client.switch(verify="pkcs1-only")
    assert hand.verify() == ()
    hand.put_pair()
    assert hand.verify() == hand.estate.members


def litter(hand: Hand) -> None:
    hand.client.switch(addServer="litter")
    hand.run("vtl", "addServer", "-n", "other.lab", "-c", hand.server_file())
    folder = hand.client.below("cert/server")
    assert {"other.labCert.pem", "other.labCert.pem.bak"} <= {one.name for one in folder.iterdir()}


EFFECTS: dict[str, Callable[[Hand], None]] = {
    effect.__name__.replace("_", "-"): effect
    for effect in (
        *(error, fails, babble, usage, crash, hang, deaf, hang_with_pin, hang_late, truncate, foreign_key, no_prompt),
        *(asks_twice, retries, echoes, leaves_echo, flood, slow, no_slots, label_used, show_nothing, show_longer),
        *(lies, mumbles, litter, pkcs1_only),
    )
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_each_fault_shows_its_effect(fault: str, hand: Hand) -> None:
    EFFECTS[fault](hand)


def wait_for(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit
        select.select([], [], [], 0.01)


def ignores(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


def test_a_fault_of_one_command_leaves_the_others_alone(hand: Hand) -> None:
    hand.client.switch(addMember="error")
    number = luna.group_number(hand.new_group().output)
    assert number is not None
    failed = hand.add_member(number)
    assert luna.is_error(failed.output)
    assert hand.conf()["VirtualToken00Members"] == hand.estate.members[0]


def test_a_fault_can_be_set_for_every_command(hand: Hand) -> None:
    hand.client.switch(Switches(faults={"*": ("error",)}))
    assert luna.is_error(hand.run("vtl", "listServers").output)
    assert luna.is_error(hand.show().output)


def test_a_fault_that_does_not_exist_is_refused(hand: Hand) -> None:
    with pytest.raises(ValueError, match="no such fault: hnag"):
        hand.client.switch(verify="hnag")


@pytest.mark.parametrize("generation", DIALECT)
def test_a_wrong_pin_is_refused_in_each_generations_words_and_costs_one_try(
    generation: str, estate: Estate, tmp_path: Path
) -> None:
    hand = host(estate, generation, tmp_path)
    before = hand.client.conf.read_bytes()
    ran = hand.new_group(pin="wrong-PIN")
    assert ran.status == 0
    assert luna.pin_refused(ran.after_pin), ran.output
    assert [one.tries for one in estate.partitions] == [1, 0]
    estate.partitions[0].lock()
    ran = hand.new_group()
    assert luna.pin_refused(ran.after_pin), ran.output
    assert estate.partitions[0].failures == estate.partitions[0].limit
    assert hand.client.conf.read_bytes() == before


@pytest.mark.parametrize("generation", ["6.2", "10.4"])
def test_objects_on_the_partition_are_asked_about(generation: str, estate: Estate, tmp_path: Path) -> None:
    hand = host(estate, generation, tmp_path)
    partition = estate.partitions[0]
    partition.objects = True
    ran = hand.new_group()
    assert (ran.status, luna.is_error(ran.output), luna.group_number(ran.output)) == (0, False, None)
    assert "VirtualToken00Label" not in hand.conf()
    hand.objects = "copy"
    assert luna.group_number(hand.new_group().output)
    assert (partition.copies, partition.removed, partition.objects) == (1, False, True)
    assert [one.answers for one in hand.client.calls() if one.command == "newGroup"] == [("quit",), ("copy",)]


def test_a_tool_that_renames_replaces_a_link_and_one_that_writes_in_place_keeps_it(
    estate: Estate, tmp_path: Path
) -> None:
    hand = Hand(estate=estate, client=estate.install("7.3", tmp_path, linked=True))
    real = tmp_path / "etc/luna/site.conf"
    hand.put_pair()
    hand.add_servers()
    assert hand.client.conf.is_symlink()
    assert "ServerName01" in real.read_text()
    hand.client.switch(Switches(rewrite="rename"))
    assert luna.group_number(hand.new_group().output)
    assert not hand.client.conf.is_symlink()
    assert "VirtualToken00Label" not in real.read_text()
    assert "VirtualToken00Label" in hand.client.conf.read_text()


def test_a_renaming_tool_killed_half_way_leaves_the_old_conf_and_litter(hand: Hand) -> None:
    before = hand.client.conf.read_bytes()
    hand.client.switch(Switches(rewrite="rename"), newGroup="truncate")
    assert hand.new_group().status is None
    assert hand.client.conf.read_bytes() == before
    assert hand.client.conf.with_name("Chrystoki.conf.new").exists()


def test_comments_go_or_stay_as_switched(estate: Estate, tmp_path: Path) -> None:
    hand = host(estate, "5.4", tmp_path)
    comment = "# kept by the site's own scripts"
    hand.client.switch(Switches(comments=True))
    hand.run("vtl", "addServer", "-n", "other.lab", "-c", hand.server_file())
    assert "other.lab" in hand.client.conf.read_text()
    assert comment in hand.client.conf.read_text()
    hand.client.switch()
    hand.new_group()
    assert comment not in hand.client.conf.read_text()


def test_a_group_may_get_a_number_that_nobody_expects(hand: Hand) -> None:
    hand.client.switch(Switches(group_number="7348512096"))
    assert luna.group_number(hand.new_group().output) == "7348512096"
    assert not luna.is_error(hand.add_member("7348512096").output)
    assert hand.conf()["VirtualToken00SN"] == "7348512096"
