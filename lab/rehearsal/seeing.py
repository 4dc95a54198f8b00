"""Knows what has to be seen of a machine: on its disk, in its units, in its journal. Raises NotSeen otherwise."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from hsm_enrol.errors import EnrolError
from hsm_enrol.events import Event
from hsm_enrol.record import PATH as RECORD
from lab.rehearsal.machine import Machine, NotSeen, until
from lab.rehearsal.site import LUNA, Site

SERVICE, TARGET, CONSUMER = "hsm-enrol.service", "hsm-enrol.target", "consumer.service"
SETTINGS = "/etc/hsm-enrol/hsm-enrol.toml"
CONF = "/etc/Chrystoki.conf"
HA_ENV = "/run/hsm-enrol/ha.env"
OWNER_KEY = "/var/lib/hsm-enrol/owner.key"
STATE = "/var/lib/hsm-enrol"
UNITS = {"min": 60.0, "s": 1.0, "ms": 0.001}
Disk = dict[str, tuple[str, int]]


def see(holds: bool, what: str) -> None:  # noqa: FBT001  reads as an assertion
    """Raise NotSeen unless it holds."""
    if not holds:
        raise NotSeen(f"not seen: {what}")


def see_equal(found: object, wanted: object, what: str) -> None:
    """Raise NotSeen with both unless they are equal."""
    see(found == wanted, f"{what}: {found!r}, not {wanted!r}")


def see_joined(site: Site, machine: Machine) -> None:
    """See a member: record, conf, key file, ha.env, unit, target, and the application that waited for it."""
    machine.wait_for(SERVICE, "active")
    see_equal(machine.show(SERVICE, "Result"), "success", "result of the service")
    record = site.record(machine)
    installed = record["installed"]
    see_equal(record["instance_id"], site.imds.machine.instance_id, "instance in the record")
    see_equal(installed["serial"], site.serial, "serial in the record")
    see(not machine.has(f"{STATE}/undo"), "nothing half done")
    conf = machine.read(CONF)
    for part in (*(one.address for one in site.estate.servers), site.estate.label, ",".join(site.estate.members)):
        see(part in conf, f"{part} in Chrystoki.conf")
    key = machine.root / installed["paths"]["key"].lstrip("/")
    see_equal(oct(key.stat().st_mode & 0o7777), "0o640", "mode of the client key")
    see("PRIVATE KEY" in key.read_text(), "a key in the client key's file")
    see(site.estate.pin not in conf + machine.read(RECORD), "the PIN written nowhere")
    wanted = f"LUNA_HA_LABEL={site.estate.label}\nLUNA_HA_SLOT={installed['ha']['slot']}\n"
    see_equal(machine.read(HA_ENV), wanted, "ha.env")
    see_application(machine, f"{site.estate.label} {installed['ha']['slot']}\n")


def see_application(machine: Machine, read: str) -> None:
    """See the application up, started after the join, with what it read in ha.env."""
    machine.wait_for(TARGET, "active")
    machine.wait_for(CONSUMER, "active")
    joined = int(machine.show(SERVICE, "ExecMainExitTimestampMonotonic"))
    see(0 < joined <= int(machine.show(CONSUMER, "ExecMainStartTimestampMonotonic")), "the application coming after")
    until(lambda: machine.has("/run/consumer.saw"), "the application has begun")
    see_equal(machine.read("/run/consumer.saw"), read, "what the application read")


def see_no_application(machine: Machine) -> None:
    """See the boot done without HSM, and the application held back."""
    see_equal(machine.show("multi-user.target", "ActiveState"), "active", "the boot")
    see(machine.show(CONSUMER, "ActiveState") != "active", "the application held back")
    see(machine.show(TARGET, "ActiveState") != "active", "the target not reached")


def see_entry(site: Site, machine: Machine, kind: Event | type[EnrolError]) -> dict[str, Any]:
    """See a journal entry of this kind, with fields, and what `journalctl -x` explains about it; gives the last one."""
    entries = machine.journal(f"MESSAGE_ID={kind.message_id}")
    see(bool(entries), f"a journal entry {kind.message_id}")
    entry = entries[-1]
    see_equal(entry.get("HSM_ENROL_INSTANCE"), site.imds.machine.instance_id, "HSM_ENROL_INSTANCE in the journal")
    see_equal(entry["_SYSTEMD_UNIT"], SERVICE, "unit in the journal")
    if isinstance(kind, type):
        see_equal(entry["HSM_ENROL_ERROR"], kind.reason, "HSM_ENROL_ERROR in the journal")
        see_equal(entry["HSM_ENROL_EXIT_STATUS"], str(kind.status), "HSM_ENROL_EXIT_STATUS in the journal")
    told = machine.run("journalctl", "--catalog", "--no-pager", f"MESSAGE_ID={kind.message_id}")
    see("-- Defined-By: hsm-enrol" in told, f"an explanation of {kind.message_id} by journalctl -x")
    return entry


def see_nowhere_in_the_journal(machine: Machine, *secrets: str) -> None:
    """See that no entry of any field holds one of these texts."""
    text = "\n".join(str(value) for entry in machine.journal() for value in entry.values())
    for secret in secrets:
        see(secret not in text, "no secret in the journal")


def disk(machine: Machine) -> Disk:
    """Give digest and time of every file that a join writes, by path."""
    root = machine.root
    paths = [*(root / "etc").glob("*Chrystoki*"), *(root / "etc").glob(".*hsm-enrol*")]
    for folder in ("etc/hsm-enrol", STATE.lstrip("/"), LUNA.lstrip("/")):
        paths += (path for path in (root / folder).rglob("*") if ".stand-in" not in path.parts)
    return {
        f"/{path.relative_to(root)}": (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(paths)
        if path.is_file()
    }


def see_unchanged(machine: Machine, before: Disk) -> None:
    """See the same files, with the same bytes and times."""
    changed = dict.fromkeys(sorted(path for path, _ in before.items() ^ disk(machine).items()))
    see(not changed, f"unchanged: {', '.join(changed)}")


def cost(machine: Machine) -> float:
    """Give the seconds the service took in this boot, as `systemd-analyze blame` has it."""
    for line in machine.run("systemd-analyze", "blame", "--no-pager").splitlines():
        time, _, unit = line.strip().rpartition(" ")
        if unit == SERVICE:
            return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)(min|ms|s)", time))
    raise NotSeen(f"not seen: {SERVICE} in systemd-analyze blame")


def monotonic(machine: Machine, unit: str, name: str) -> float:
    """Give one of a unit's timestamps, in seconds of CLOCK_MONOTONIC."""
    return int(machine.show(unit, f"{name}TimestampMonotonic")) / 1e6
