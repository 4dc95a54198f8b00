"""README's promises, one each, in its order: with real processes, real TLS, real files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.party import environment
from lab.world import World

KILL_AT = Path(__file__).with_name("kill_at.py")


def installed(world: World) -> dict[str, object]:
    record = json.loads((world.root / "var/lib/hsm-enrol/record.json").read_text())
    found = record["installed"]
    assert isinstance(found, dict)
    return found


def killed(world: World, when: str, place: str, *words: str, nth: int = 1) -> None:
    """Run the agent to its violent end at a place in its code."""
    argv = [sys.executable, str(KILL_AT), when, place, str(nth), "--", *world.argv(*words)[3:]]
    ran = subprocess.run(argv, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == -9, ran.stderr


def enrolled(world: World, *words: str) -> None:
    ran = world.agent(*(words or ("enrol",)))
    assert ran.returncode == 0, ran.stderr


def owner_of(world: World) -> bytes:
    return (world.root / "var/lib/hsm-enrol/owner.key").read_bytes()


def taken_by(world: World) -> set[object]:
    """The owner keys that answers were given to, by the audit."""
    return {
        line["owner"] for line in world.party.audit() if line["event"] == "enrolment" and line["outcome"] == "answered"
    }


def test_a_booted_instance_becomes_a_member_of_the_slot(world: World) -> None:
    ran = world.agent("enrol", "--reason", "boot", "--json")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    ha = world.bundle()["ha"]
    assert (told["outcome"], told["serial"], told["group"]) == ("joined", world.serial, ha["label"])
    assert world.show().count("alive") == len(ha["members"])
    env = (world.root / "run/hsm-enrol/ha.env").read_text()
    assert env == f"LUNA_HA_LABEL={ha['label']}\nLUNA_HA_SLOT={told['slot']}\n"
    last = [line for line in world.party.audit() if line["event"] == "receipt"][-1]
    assert (last["result"], last["pin_told"]) == ("installed", "accepted")


def test_an_answer_key_that_lies_in_two_pinned_files_is_one_key(world: World) -> None:
    """At the end of a rotation: answer-key.pem is the new key then, and the new key's own file is still there."""
    pinned = world.root / "etc/hsm-enrol/answer-key.pem"
    pinned.with_name("answer-key-2.pem").write_bytes(pinned.read_bytes())
    text = world.config.read_text()
    one = 'answer_keys = ["/etc/hsm-enrol/answer-key.pem"]'
    assert one in text
    world.config.write_text(text.replace(one, one.replace("]", ', "/etc/hsm-enrol/answer-key-2.pem"]')))
    enrolled(world)


def test_a_second_run_contacts_nobody_and_changes_nothing(world: World) -> None:
    enrolled(world)
    before, lines, seen = world.files(), world.party.audit(), dict(world.imds.seen)
    ran = world.agent("enrol", "--reason", "boot")
    assert (ran.returncode, world.files(), world.party.audit()) == (0, before, lines), ran.stderr
    assert dict(world.imds.seen) == seen
    assert "nothing to do" in ran.stderr


def test_a_reboot_needs_no_verifier_and_brings_ha_env_back(world: World) -> None:
    enrolled(world)
    before, lines = world.files(), world.party.audit()
    world.reboot()
    enrolled(world, "enrol", "--reason", "boot")
    assert (world.files(), world.party.audit()) == (before, lines)


def test_where_the_firmware_names_the_instance_not_even_imds_is_asked_at_a_reboot(world: World) -> None:
    enrolled(world)
    tag = world.root / "sys/devices/virtual/dmi/id/board_asset_tag"
    tag.parent.mkdir(parents=True)
    tag.write_text(world.machine.instance_id + "\n")
    world.reboot()
    (world.root / "run/hsm-enrol").mkdir()  # as RuntimeDirectory= does
    seen = dict(world.imds.seen)
    enrolled(world, "enrol", "--reason", "boot")
    assert dict(world.imds.seen) == seen
    assert (world.root / "run/hsm-enrol/ha.env").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("when", "place", "rebooted"),
    [
        ("after", "hsm_enrol.ask:sign_assertion", False),
        ("before", "hsm_enrol.ask:verify_answer", True),
        ("after", "hsm_enrol.ask:open_answer", False),
        ("before", "hsm_enrol.host.undo:Journal.commit", True),
        ("after", "hsm_enrol.host.undo:Journal.commit", False),
        ("before", "hsm_enrol.receipts:sign_receipt", True),
    ],
    ids=["sent", "answered", "opened", "before-commit", "committed", "receipt-due"],
)
def test_killed_and_run_again_it_ends_installed_with_the_same_owner(
    world: World, when: str, place: str, *, rebooted: bool
) -> None:
    nth = 2 if place.endswith("sign_receipt") else 1  # the first one is the trial's
    killed(world, when, place, "enrol", nth=nth)
    owner = owner_of(world)
    if rebooted:
        world.reboot()
    enrolled(world)
    assert installed(world)["serial"] == world.serial
    assert owner_of(world) == owner
    assert len(taken_by(world)) == 1
    assert not (world.root / "var/lib/hsm-enrol/undo").exists()
    assert not list(world.root.rglob(".hsm-enrol.*"))
    told = world.agent("status", "--json")
    assert (told.returncode, json.loads(told.stdout)["warnings"]) == (0, [])


def test_a_clone_of_the_image_is_another_instance(world: World) -> None:
    enrolled(world)
    old = owner_of(world)
    clone = world.aws.launch()
    world.imds.machine = clone
    world.reboot()
    enrolled(world)
    assert owner_of(world) != old
    assert clone.instance_id.encode() in owner_of(world)
    record = json.loads((world.root / "var/lib/hsm-enrol/record.json").read_text())
    assert record["instance_id"] == clone.instance_id


def test_a_newer_bundle_arrives_by_refresh_and_spends_no_pin(world: World) -> None:
    enrolled(world)
    tries = world.estate.tries
    world.estate.renew_client()
    serial = world.party.publish(world.bundle())
    assert serial > world.serial
    old = {path.name for path in (world.root / "usr/safenet/lunaclient/cert/client").iterdir()}
    ran = world.agent("refresh")
    assert ran.returncode == 0, ran.stderr
    assert installed(world)["serial"] == serial
    new = {path.name for path in (world.root / "usr/safenet/lunaclient/cert/client").iterdir()}
    assert not old & new
    assert world.estate.tries == tries
    assert world.agent("refresh").returncode == 0
    assert world.agent("status").returncode == 0


def test_re_enrol_is_refused_until_an_operator_grants_it(world: World) -> None:
    enrolled(world)
    before = world.files()
    refused = world.agent("re-enrol")
    assert refused.returncode == 77
    assert f"hsm-verifier grant {world.machine.instance_id}" in refused.stderr
    assert world.files() == before
    world.party.command("grant", world.machine.instance_id, "--reason", "rebuilt", "--count", "1")
    enrolled(world, "re-enrol")
    assert world.agent("status").returncode == 0


def test_leaving_gives_the_host_back_as_it_was(world: World) -> None:
    before = world.files()
    enrolled(world)
    assert world.files() != before
    ran = world.agent("leave")
    assert ran.returncode == 0, ran.stderr
    after = world.files()
    meaning = {name: mode_and_bytes for name, mode_and_bytes in after.items() if "CAFile" not in name}
    assert set(meaning) == {name for name in before if "CAFile" not in name}
    assert "ServerName" not in world.conf
    assert "VirtualToken" not in world.conf


def test_generalize_leaves_nothing_of_the_instance_and_works_twice(world: World) -> None:
    enrolled(world)
    for _ in range(2):
        ran = world.agent("generalize")
        assert ran.returncode == 0, ran.stderr
        assert not (world.root / "var/lib/hsm-enrol").exists()
        found = b"".join(content for _, content in world.files().values())
        assert world.machine.instance_id.encode() not in found
        assert b"PRIVATE KEY" not in found


def test_a_plan_touches_nothing_and_asks_no_verifier(world: World) -> None:
    before = world.files()
    ran = world.agent("enrol", "--plan")
    assert ran.returncode == 0, ran.stderr
    assert "vtl addServer" in ran.stdout
    assert world.files() == before
    enrolled(world)
    conf = world.root / "etc/Chrystoki.conf"
    conf.write_text(conf.read_text().replace("HAOnly = 1;", "HAOnly = 0;"))
    edited = world.files()
    ran = world.agent("enrol", "--plan")
    assert "+   HAOnly = 1;" in ran.stdout or "+HAOnly = 1;" in ran.stdout.replace(" ", "").replace(
        "HAOnly=1", "HAOnly = 1"
    )
    assert world.files() == edited
    enrolled(world)
    assert "HAOnly = 1;" in world.conf


def test_a_terminal_is_not_needed_and_the_journal_gets_priorities(world: World) -> None:
    with (world.folder / "journal").open("w+") as journal:  # stands for the socket that systemd connects
        found = os.fstat(journal.fileno())
        ran = subprocess.run(
            world.argv("enrol"),
            env=environment(JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino}"),
            stdout=subprocess.DEVNULL,
            stderr=journal,
            timeout=60,
            check=False,
        )
        journal.seek(0)
        lines = journal.read().splitlines()
    assert ran.returncode == 0
    assert lines
    assert all(line.startswith("<") and line[2] == ">" for line in lines)


def test_a_stranger_without_root_is_told_so(world: World, tmp_path: Path) -> None:
    argv = [one for one in world.argv("enrol") if one not in {"--root", str(world.root)}]
    ran = subprocess.run(
        ["setpriv", "--reuid", "65534", "--clear-groups", *argv],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
    assert ran.returncode == 78, ran.stderr
    assert "needs root" in ran.stderr
    assert os.geteuid() == 0
