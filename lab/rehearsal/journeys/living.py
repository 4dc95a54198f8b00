"""Knows what comes after the join: new bundles, drift, idle boots, upgrades, and the package's end."""

from __future__ import annotations

from lab.rehearsal.machine import until
from lab.rehearsal.seeing import (
    CONF,
    CONSUMER,
    OWNER_KEY,
    SERVICE,
    SETTINGS,
    cost,
    monotonic,
    see,
    see_equal,
    see_joined,
)
from lab.rehearsal.site import LUNA, Site

BOOT_COST = 0.3  # seconds that a boot with nothing to do may take longer
METRICS = "/run/hsm-enrol/hsm-enrol.prom"
TRIES = 5  # boots to measure: this host may be busy elsewhere
# On EC2 the firmware names the instance, and a run with nothing to do need not ask anybody. A container has no
# firmware, so the unit, and only the unit, is shown one.
FIRMWARE = "[Service]\nBindReadOnlyPaths=/srv/firmware:/sys/devices/virtual\n"
REFRESH_NOW = "[Timer]\nOnCalendar=\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=100ms\n"


def rotation(site: Site) -> str:
    """Publish a new client certificate; the refresh timer brings it while the application runs on."""
    machine = site.machine("rotation")
    machine.boot()
    see_joined(site, machine)
    old = site.record(machine)["installed"]["paths"]["cert"]
    started = monotonic(machine, CONSUMER, "ExecMainStart")
    site.estate.renew_client()
    site.serial = site.publish()
    machine.write("/etc/systemd/system/hsm-enrol-refresh.timer.d/now.conf", REFRESH_NOW)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "hsm-enrol-refresh.timer")
    until(lambda: site.record(machine)["installed"]["serial"] == site.serial, "the newer bundle")
    machine.wait_for("hsm-enrol-refresh.service", "inactive")
    see_equal(machine.show("hsm-enrol-refresh.service", "Result"), "success", "result of the refresh")
    new = site.record(machine)["installed"]["paths"]["cert"]
    conf = machine.read(CONF)
    see(new != old and new in conf and old not in conf, "the new pair in Chrystoki.conf, the old one not")
    see(not machine.has(old), "the old pair gone")
    see_joined(site, machine)
    see_equal(monotonic(machine, CONSUMER, "ExecMainStart"), started, "start of the application")
    return "hsm-enrol-refresh.timer brought it: new pair in, old pair gone, the application untouched"


def drift(site: Site) -> str:
    """Edit the conf by hand: the hourly check fails, and the next boot mends it without the verifier."""
    machine = site.machine("drift")
    # The tools' stand-in writes a log of its own, which a real vtl does not; the check's sandbox lets it write nothing.
    own_log = f"[Service]\nReadWritePaths={LUNA}/.stand-in\n"
    machine.write("/etc/systemd/system/hsm-enrol-check.service.d/stand-in.conf", own_log)
    machine.boot()
    see_joined(site, machine)
    see_equal(machine.try_run("systemctl", "start", "hsm-enrol-check.service").returncode, 0, "check of a good host")
    see("hsm_enrol_healthy 1\n" in machine.read(METRICS), "healthy 1 in the metrics")
    edited = machine.read(CONF).replace("HAOnly = 1", "HAOnly = 0")
    see(edited != machine.read(CONF), "HAOnly in Chrystoki.conf")
    machine.write(CONF, edited)
    see(machine.try_run("systemctl", "start", "hsm-enrol-check.service").returncode != 0, "the check failing")
    see_equal(machine.show("hsm-enrol-check.service", "ExecMainStatus"), "1", "exit status of the check")
    see("hsm_enrol_healthy 0\n" in machine.read(METRICS), "healthy 0 in the metrics")
    site.party.stop()
    machine.reboot()
    see_joined(site, machine)
    return "hsm-enrol-check.service failed with 1; mended at the next boot while the verifier was down"


def idle_boot(site: Site) -> str:
    """Measure what a boot with nothing to do costs: asking IMDS, and with firmware that names the instance.

    The machine runs at real-time priority, so that this host's other work does not count.
    """
    machine = site.machine("idle-boot")
    machine.hurried = True
    machine.boot()
    see_joined(site, machine)
    machine.reboot()
    see_joined(site, machine)
    asking = cost(machine)
    machine.write("/srv/firmware/dmi/id/board_asset_tag", f"{site.imds.machine.instance_id}\n")
    machine.write("/etc/systemd/system/hsm-enrol.service.d/firmware.conf", FIRMWARE)
    costs: list[float] = []
    while not costs or (min(costs) > BOOT_COST and len(costs) < TRIES):
        machine.reboot()
        see_joined(site, machine)
        costs.append(cost(machine))
    see(min(costs) <= BOOT_COST, f"at most {BOOT_COST} s, but {' '.join(f'{one:.2f}' for one in costs)} s")
    return f"{min(costs):.2f} s by `systemd-analyze blame` ({asking:.2f} s where IMDS has to be asked who this is)"


def upgrade(site: Site) -> str:
    """Install a newer package over a member, reboot, remove, purge."""
    machine = site.machine("upgrade")
    machine.boot()
    see_joined(site, machine)
    settings, started = machine.read(SETTINGS), monotonic(machine, CONSUMER, "ExecMainStart")
    machine.run("systemctl", "disable", "hsm-enrol-check.timer")
    (machine.root / "newer.deb").write_bytes((site.folder.parent / "newer.deb").read_bytes())
    machine.run("dpkg", "--install", "/newer.deb")
    see_equal(machine.read(SETTINGS), settings, "settings")
    see_equal(machine.show(SERVICE, "ActiveState"), "active", "the service")
    see_equal(monotonic(machine, CONSUMER, "ExecMainStart"), started, "start of the application")
    enabled = machine.try_run("systemctl", "is-enabled", "hsm-enrol-check.timer").stdout.strip()
    see_equal(enabled, "disabled", "the timer that the operator disabled")
    machine.reboot()
    see_joined(site, machine)
    version = machine.run("hsm-enrol", "--version").split()[-1]
    see_equal(site.record(machine)["agent"], version, "version in the record after a boot")
    machine.run("dpkg", "--remove", "hsm-enrol")
    see(machine.has(OWNER_KEY) and machine.has(SETTINGS), "state and settings after a removal")
    see_equal(machine.show(CONSUMER, "ActiveState"), "active", "the application after a removal")
    machine.run("dpkg", "--purge", "hsm-enrol")
    # What is not the package's: this rehearsal's drop-ins and application, systemd's own folders for a running unit.
    names = machine.run("find", "/", "-xdev", "-name", "*hsm-enrol*").split()
    others = ("/etc/systemd/system/", "/var/tmp/systemd-private-", "/tmp/systemd-private-", "/sys/", "/proc/", "/run/")
    see_equal([name for name in names if not name.startswith(others)], [], "files left after a purge")
    see(not machine.has("/run/hsm-enrol"), "/run/hsm-enrol gone after a purge")
    return f"to {version} with settings, application and a disabled timer as they were; a purge leaves nothing"
