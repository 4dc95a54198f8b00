"""A verifier that was restored from a backup hands out what is older: refused, unless a person asks for it."""

import json

from lab.world import World


def test_an_older_serial_is_refused_unless_asked_for(world: World) -> None:
    assert world.agent("enrol").returncode == 0
    record = world.root / "var/lib/hsm-enrol/record.json"
    found = json.loads(record.read_text())
    found["installed"]["serial"] = world.serial + 98
    record.write_text(json.dumps(found))
    before = world.files()
    assert world.agent("refresh").returncode == 77  # the verifier itself knows nothing so new
    world.party.command("grant", world.machine.instance_id, "--reason", "restored", "--count", "2")
    ran = world.agent("re-enrol", "--json")
    assert ran.returncode == 77, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["reason"], told["facts"]) == ("older_serial", {"got": world.serial, "have": world.serial + 98})
    assert world.files() == before
    ran = world.agent("re-enrol", "--allow-older")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(record.read_text())["installed"]["serial"] == world.serial
    assert world.estate.tries == 2  # the first join's; no tool takes the PIN again
