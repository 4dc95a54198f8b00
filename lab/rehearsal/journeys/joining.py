"""Knows how an instance becomes a member: by the unit in its image, by cloud-init, by an operator, as a copy."""

from __future__ import annotations

import json
import socket

from hsm_enrol.errors import AlreadyEnrolled
from hsm_enrol.events import JOINED
from hsm_enrol.record import PATH as RECORD
from lab.rehearsal import user_data
from lab.rehearsal.machine import NotSeen, until
from lab.rehearsal.seeing import (
    CONF,
    OWNER_KEY,
    SERVICE,
    SETTINGS,
    STATE,
    disk,
    see,
    see_entry,
    see_equal,
    see_joined,
    see_no_application,
    see_nowhere_in_the_journal,
    see_unchanged,
)
from lab.rehearsal.site import VERIFIER, Site


def first_boot(site: Site) -> str:
    """Boot an image with the unit baked in, then reboot: nothing changes, the verifier is not contacted."""
    machine = site.machine("first-boot")
    machine.boot()
    see_joined(site, machine)
    see_equal(site.asked(), 1, "enrolments at the verifier")
    entry = see_entry(site, machine, JOINED)
    see(entry["HSM_ENROL_VERIFIER"] == f"https://{VERIFIER}" and entry["HSM_ENROL_ASSERTION"], "verifier and assertion")
    own = site.imds.machine.credentials
    key = machine.read(site.record(machine)["installed"]["paths"]["key"]).splitlines()[1]
    see_nowhere_in_the_journal(machine, site.estate.pin, own.secret_access_key, own.session_token, key)
    before = disk(machine)
    site.party.stop()
    host, _, port = VERIFIER.rpartition(":")
    with socket.create_server((host, int(port))) as nobody:
        nobody.settimeout(0)
        machine.reboot()
        see_joined(site, machine)
        try:
            nobody.accept()
        except BlockingIOError:
            pass
        else:
            raise NotSeen("the verifier was contacted although there was nothing to do")
    see_unchanged(machine, before)
    return "joined; after a reboot every file is the same, and the verifier was not contacted"


def cloud_init(site: Site) -> str:
    """Let real cloud-init bring the settings by write_files and start the unit by runcmd, from a NoCloud seed."""
    machine = site.machine("cloud-init", settings=False)
    (machine.root / "etc/cloud/cloud-init.disabled").unlink()
    config = user_data.example()
    for path, text in site.settings().items():
        config = user_data.with_file(config, path, text)
    # A minimal image has no locale of the name that cloud-init would set.
    machine.write("/var/lib/cloud/seed/nocloud/user-data", config + "locale: C.UTF-8\n")
    machine.write("/var/lib/cloud/seed/nocloud/meta-data", f"instance-id: {site.imds.machine.instance_id}\n")
    machine.boot()
    see_joined(site, machine)
    until(lambda: "running" not in machine.try_run("cloud-init", "status").stdout, "cloud-init is done")
    see_equal(machine.run("cloud-init", "status").strip(), "status: done", "cloud-init")
    see_equal(json.loads(machine.read("/run/cloud-init/result.json"))["v1"]["errors"], [], "cloud-init's errors")
    before = disk(machine)
    machine.reboot()
    see_joined(site, machine)
    see_unchanged(machine, before)
    return "write_files, then the unit, then the application; `cloud-init status` says done"


def operator(site: Site) -> str:
    """Refuse a host that lost its owner key until an operator grants, re-enrols by hand and starts the unit."""
    machine = site.machine("operator")
    machine.boot()
    see_joined(site, machine)
    machine.power_off()
    for lost in (OWNER_KEY, RECORD):
        (machine.root / lost.lstrip("/")).unlink()
    machine.boot()
    machine.wait_for(SERVICE, "failed")
    see_equal(machine.show(SERVICE, "ExecMainStatus"), "77", "exit status")
    see_equal(machine.show(SERVICE, "NRestarts"), "0", "restarts after a refusal")
    see_equal(machine.show("hsm-enrol-retry.timer", "ActiveState"), "active", "the retry timer")
    see_entry(site, machine, AlreadyEnrolled)
    see("hint:" in machine.console(), "fault and hint on the console")
    see_no_application(machine)
    site.party.command("grant", site.imds.machine.instance_id, "--reason", "rehearsal")
    machine.run("hsm-enrol", "re-enrol")
    machine.run("systemctl", "start", SERVICE)
    see_joined(site, machine)
    return "77, which Restart= leaves alone; after a grant `re-enrol` by hand, then the application started"


def clone(site: Site) -> str:
    """Copy a member's disk without `generalize`: the copy forgets who it was and joins as itself."""
    first = site.machine("original")
    first.boot()
    see_joined(site, first)
    first_id, first_key = site.record(first)["instance_id"], first.read(OWNER_KEY)
    first.power_off()
    copy = site.clone(first, "copy")
    copy.boot()
    see_joined(site, copy)
    see(site.record(copy)["instance_id"] != first_id, "another instance in the record")
    see(copy.read(OWNER_KEY) != first_key, "another owner key")
    return "record and owner key of the original are gone; joined with its own"


def generalize(site: Site) -> str:
    """Make an image as it should be made: nothing of the instance is left on the disk; once more without settings."""
    machine = site.machine("generalize")
    machine.boot()
    see_joined(site, machine)
    paths = site.record(machine)["installed"]["paths"]
    machine.run("hsm-enrol", "generalize")
    machine.run("rm", SETTINGS)
    machine.run("hsm-enrol", "generalize")  # as recipes do, whose image holds no settings
    left = sorted(path.name for path in (machine.root / STATE.lstrip("/")).glob("*"))
    see_equal(left, [], "state")
    see(not machine.has(paths["key"]) and not machine.has(paths["cert"]), "no client pair")
    conf = machine.read(CONF)
    see(not any(one.address in conf for one in site.estate.servers), "no appliance in Chrystoki.conf")
    return "no state, no client pair, no appliance left on the disk"


def user_data_schema(site: Site) -> str:
    """Show the user data of packaging/ to this cloud-init, and a misspelt key, which it has to find."""
    machine = site.machine("schema")
    values = {"VerifierUrls": '"https://vp1.example:8443"', "Audience": site.party.audience, "VerifierCa": "Y2E="}
    texts = {"example": user_data.example(), "fleet": user_data.fleet({**values, "AnswerKey": "a2V5"})}
    for name, text in texts.items():
        machine.write(f"/srv/{name}", text)
        machine.write(f"/srv/wrong-{name}", text.replace("permissions:", "permision:", 1))
    machine.boot()
    for name in texts:
        machine.run("cloud-init", "schema", "--config-file", f"/srv/{name}")
        wrong = machine.try_run("cloud-init", "schema", "--config-file", f"/srv/wrong-{name}")
        see(wrong.returncode != 0, f"the misspelt key in {name} found")
    return "`cloud-init schema` takes both texts and finds a misspelt key"
