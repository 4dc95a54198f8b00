"""What the stand-in client writes and prints beside a join: its conf, its files, its lists, its short forms."""

import os
import re
import select
import stat
import subprocess
from pathlib import Path

import pytest

from hsm_enrol import chrystoki, luna
from lab.luna.confs import conf_text
from lab.luna.estate import Estate
from lab.luna.generations import GENERATIONS as TABLE
from tests.lab.luna_hand import GENERATIONS, Hand, member

# Appliances are threads of this process, so Python 3.12 and later warn of the fork; the real agent has no threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_conf_is_rewritten_in_the_generations_own_layout(generation: str, estate: Estate, tmp_path: Path) -> None:
    hand = Hand(estate=estate, client=estate.install(generation, tmp_path))
    hand.put_pair()
    before = hand.conf()
    hand.add_servers()
    text, after = hand.client.conf.read_text(), hand.conf()
    assert before.items() <= after.items()
    assert [after[f"ServerPort0{at}"] for at in range(2)] == ["1792", "1792"]
    assert [after[f"ServerName0{at}"] for at in range(2)] == [one.address for one in estate.servers]
    assert after["ServerCAFile"] == f"{hand.client.prefix}/cert/server/CAFile.pem"
    indents = {len(found) for found in re.findall(r"^( *)\S+\s*=\s*[^{\n]+;$", text, re.MULTILINE)}
    assert indents == ({1} if generation.startswith("5") else {2, 3})
    assert ("Luna={" in text) == (generation == "5.1")


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_agent_understands_the_conf_as_installed(generation: str) -> None:
    conf = chrystoki.parse(conf_text(generation, TABLE[generation].prefix, receive_timeout=20000))
    assert chrystoki.get(conf, "LunaSA Client", "ReceiveTimeout") == "20000"
    assert chrystoki.get(conf, "Site", "Contact") == "hsm team, room 5"
    assert (chrystoki.servers(conf), chrystoki.groups(conf)) == ({}, {})


def test_the_mixed_indentation_of_the_vendors_own_default_is_there() -> None:
    text = conf_text("7.3", "/usr/safenet/lunaclient", receive_timeout=20000)
    assert "\n  PEDTimeout1 = 100000;\n   PEDTimeout2 = 200000;\n" in text


def test_add_server_copies_the_certificate_and_adds_it_to_the_ca_file(estate: Estate, tmp_path: Path) -> None:
    hand = Hand(estate=estate, client=estate.install("6.2", tmp_path))
    hand.add_servers()
    folder = hand.client.below("cert/server")
    certificates = [one.certificate for one in hand.estate.servers]
    assert (folder / "CAFile.pem").read_text() == "".join(certificates)
    for server in hand.estate.servers:
        assert (folder / f"{server.address}Cert.pem").read_text() == server.certificate


def test_a_server_is_registered_once(hand: Hand) -> None:
    before = hand.client.conf.read_bytes()
    again = hand.run("vtl", *luna.add_server(hand.estate.servers[0].address, hand.server_file()))
    assert again.status != 0
    assert luna.already_registered(again.output)
    assert hand.client.conf.read_bytes() == before


def test_what_is_no_certificate_is_not_registered(hand: Hand) -> None:
    ran = hand.run("vtl", *luna.add_server("new.lab", str(hand.client.conf)))
    assert (ran.status, luna.is_error(ran.output), luna.added(ran.output)) == (0, True, False)
    assert "new.lab" not in hand.client.conf.read_text()


def test_a_deleted_server_is_gone_and_the_later_ones_move_up(hand: Hand) -> None:
    first, second = hand.estate.servers
    hand.run("vtl", "deleteServer", "-n", first.address)
    assert hand.conf()["ServerName00"] == second.address
    assert "ServerName01" not in hand.conf()
    assert hand.client.below("cert/server/CAFile.pem").read_text() == second.certificate
    assert hand.verify() == hand.estate.members[1:]


def test_create_cert_makes_a_pair_and_points_the_conf_at_it(estate: Estate, tmp_path: Path) -> None:
    hand = Hand(estate=estate, client=estate.install("10.4", tmp_path))
    ran = hand.run("vtl", "createCert", "-n", "own")
    key = hand.client.below("cert/client/ownKey.pem")
    assert f"Private Key created and written to: {hand.client.prefix}/cert/client/ownKey.pem" in ran.output
    assert luna.key_warning(key.read_text()) is None
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert hand.conf()["ClientCertFile"] == f"{hand.client.prefix}/cert/client/own.pem"
    for appliance in estate.appliances:
        appliance.register("own", hand.client.below("cert/client/own.pem").read_text())
    hand.add_servers()
    assert hand.verify() == estate.members


def test_create_cert_says_so_when_it_cannot_write(hand: Hand) -> None:
    hand.client.below("cert/client/own.pem").mkdir()
    ran = hand.run("vtl", "createCert", "-n", "own")
    assert (ran.status, luna.is_error(ran.output)) == (0, True)


def test_words_are_understood_in_any_case_and_by_their_beginning(hand: Hand) -> None:
    for words in (["ver"], ["VERIFY"], ["-verify"]):
        assert luna.partitions(hand.run("vtl", *words).output), words
    assert "Server: 127.0.0.11  HTL required: no" in hand.run("vtl", "listservers").output
    assert luna.is_usage(hand.run("vtl", "frobnicate").output)
    assert luna.is_usage(hand.run("vtl").output)
    assert luna.is_usage(hand.run("vtl", "addServer", "-n").output)


def test_lunacm_takes_one_command_as_separate_words(hand: Hand) -> None:
    quoted = hand.run("lunacm", "-c", "clientconfig listservers")
    assert "0x1 Unknown command" in quoted.output
    bare = hand.run("lunacm", "clientconfig", "listservers")
    assert "Unknown command-line arguments" in bare.output
    assert "127.0.0.12" in hand.run("lunacm", "-c", "clientconfig", "listservers").output
    assert luna.version(hand.run("lunacm", "-c", "slot", "list").output) == (6, 2)
    assert luna.version(hand.run("lunacm", "-q", "slot", "list").output) is None


def test_the_banner_of_vtl_comes_with_version_10(estate: Estate, tmp_path: Path) -> None:
    for generation, version in (("7.3", None), ("10.4", (10, 4))):
        hand = Hand(estate=estate, client=estate.install(generation, tmp_path / generation))
        assert luna.version(hand.run("vtl", "listServers").output) == version


def test_an_older_client_keeps_the_slot_of_an_appliance_that_is_away_and_a_newer_one_does_not(
    estate: Estate, tmp_path: Path
) -> None:
    old, new = (member(estate, generation, tmp_path / generation) for generation in ("5.4", "7.3"))
    estate.appliances[0].down = True
    assert "slot #1   -" in old.run("vtl", "listSlots").output
    assert [luna.groups(one.show().output)[0].slot for one in (old, new)] == [3, 1]
    slots = [luna.partitions(one.run("vtl", "verify").output) for one in (old, new)]
    assert [[one.slot for one in found or ()] for found in slots] == [[2], [0]]


@pytest.mark.parametrize(("generation", "switch"), [("5.1", "-HAOnly"), ("6.2", "HAOnly"), ("10.4", "haonly")])
def test_ha_only_puts_the_group_first_and_hides_the_members(
    generation: str, switch: str, estate: Estate, tmp_path: Path
) -> None:
    hand = member(estate, generation, tmp_path)
    words = ("-q", "hagroup", switch) if hand.dialect == "lunacm" else ("haAdmin", switch)
    assert not luna.is_error(hand.run(luna.program(hand.dialect), *words, "-enable").output)
    assert hand.conf()["HAOnly"] == "1"
    listed = hand.run("vtl", "listSlots").output
    assert estate.label in listed
    assert "par1" not in listed
    (shown,) = luna.groups(hand.show().output)
    assert shown.slot == TABLE[generation].first_slot
    assert shown.alive == estate.members


def test_recovery_is_set_by_both_tools(hand: Hand) -> None:
    hand.run("vtl", "haAdmin", "autoRecovery", "-retry", "-1", "-interval", "90")
    assert (hand.conf()["reconnAtt"], hand.conf()["AutoReconnectInterval"]) == ("-1", "90")
    assert "has been set to 3" in hand.run("lunacm", "-q", "ha", "rt", "-c", "3").output
    hand.run("lunacm", "-q", "hagroup", "interval", "-interval", "120")
    assert (hand.conf()["reconnAtt"], hand.conf()["AutoReconnectInterval"]) == ("3", "120")


def test_lunacm_lists_a_group_that_is_there_and_fails_for_one_that_is_not(estate: Estate, tmp_path: Path) -> None:
    hand = member(estate, "10.4", tmp_path)
    assert hand.show().status == 0
    other = hand.run("lunacm", *luna.show("lunacm", "web"))
    assert other.status != 0
    assert luna.groups(other.output) == ()
    asked = hand.run("lunacm", "-q", "hagroup", "listGroups", pin="anything")
    assert asked.pin_sent
    assert [one.label for one in luna.groups(asked.output)] == [estate.label]
    assert estate.tries == 0


def test_a_label_and_a_member_are_taken_once(hand: Hand) -> None:
    hand.put_group()
    again = hand.new_group()
    assert "for the new group has already been used" in again.output
    assert luna.is_error(again.output)
    twice = hand.add_member(hand.estate.label)
    assert "The member you specified is already part of an" in twice.output
    assert (again.pin_sent, twice.pin_sent) == (False, False)


@pytest.mark.parametrize("how", ["tabs", "CRLF", "last section unclosed", "quoted values", "no newline at the end"])
def test_an_odd_conf_is_read_all_the_same(how: str, hand: Hand) -> None:
    text = hand.client.conf.read_text()
    odd = {
        "tabs": text.replace("   ", "\t"),
        "CRLF": text.replace("\n", "\r\n"),
        "last section unclosed": text.rstrip().removesuffix("}"),
        "quoted values": re.sub(r"(ServerName\d+\s*= )(.*);", r"\1'\2';", text),
        "no newline at the end": text.rstrip(),
    }[how]
    assert odd != text
    hand.client.conf.write_bytes(odd.encode())
    assert hand.verify() == hand.estate.members
    assert luna.group_number(hand.new_group().output) == "1" + hand.estate.members[0]
    assert hand.conf()["Contact"] == "hsm team, room 5"


def test_the_minimal_client_finds_its_conf_by_the_variable(estate: Estate, tmp_path: Path) -> None:
    hand = Hand(estate=estate, client=estate.install("10.4", tmp_path, minimal=True))
    assert hand.client.env_conf == "/opt/luna-minimal/config"
    hand.join()
    assert not (tmp_path / "etc").exists()
    assert hand.conf()["VirtualToken00Members"] == ",".join(estate.members)
    assert all("ChrystokiConfigurationPath" in one.environment for one in hand.client.calls())


def test_named_appliances_are_dialled_by_the_stand_ins_own_map(tmp_path: Path) -> None:
    with Estate(named=True) as estate:
        hand = member(estate, "7.3", tmp_path)
        assert hand.conf()["ServerName01"] == "hsm2.lab"
        assert hand.verify() == estate.members


def test_a_pin_in_argv_is_told_by_the_log(hand: Hand) -> None:
    words = luna.new_group("vtl", hand.estate.label, hand.estate.members[0])
    hand.run("vtl", *words, "-password", hand.estate.pin)
    assert hand.estate.pin in hand.client.calls()[-1].argv
    hand.run("vtl", "haAdmin", "addMember", "-group", hand.estate.pin, "-serialNum", hand.estate.members[1])
    assert not any(one.pin_elsewhere for one in hand.client.calls())  # no PIN was typed, so none to compare with


def test_a_pin_typed_too_early_is_lost(hand: Hand) -> None:
    """Input from before the question is thrown away, as careful programs do."""
    words = luna.new_group("vtl", hand.estate.label, hand.estate.members[0])
    master, slave = os.openpty()
    tool = None
    try:
        os.write(master, hand.estate.pin.encode() + b"\r")
        tool = subprocess.Popen(
            ["setsid", "--ctty", "--wait", hand.client.tool("vtl"), *words], stdin=slave, stdout=slave, stderr=slave
        )
        heard = b""
        while b"Enter password: " not in heard:
            assert select.select([master], [], [], 20)[0]
            heard += os.read(master, 4096)
        # It waits: no new line, which it prints as soon as it has a PIN.
        assert not select.select([master], [], [], 0.3)[0]
        os.write(master, hand.estate.pin.encode() + b"\r")
        assert tool.wait(20) == 0
    finally:
        os.close(slave)
        os.close(master)
        if tool is not None and tool.poll() is None:
            tool.kill()
    assert hand.estate.tries == 1
    assert hand.conf()["VirtualToken00Label"] == hand.estate.label
