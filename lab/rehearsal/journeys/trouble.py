"""Knows what stands in an instance's way: a verifier that is away, power that goes, a clock that is wrong."""

from __future__ import annotations

from hsm_enrol.errors import VerifierUnreachable
from lab.rehearsal.machine import Machine, until
from lab.rehearsal.seeing import (
    CONF,
    SERVICE,
    STATE,
    monotonic,
    see,
    see_entry,
    see_equal,
    see_joined,
    see_no_application,
)
from lab.rehearsal.site import VERIFIER, Site

AWAY = 120.0  # seconds
IMPATIENT = f"[Service]\nTimeoutStartSec={AWAY / 2:.0f}s\n"
CLOCK = "/opt/stand-ins/clock.so"


def verifier_down(site: Site) -> str:
    """Boot while the verifier is down: the boot is done, the application waits; both follow when it is up."""
    machine = site.machine("verifier-down", deadline="2s")
    site.party.stop()
    machine.boot()
    until(lambda: int(machine.show(SERVICE, "NRestarts")) > 1, "two failed runs")
    see_no_application(machine)
    see_entry(site, machine, VerifierUnreachable)
    for path, text in site.settings().items():  # the short deadline was for failing, not for joining
        machine.write(path, text)
    site.party.start(listen=VERIFIER)
    see_joined(site, machine)
    return f"the boot was done meanwhile; joined at run {int(machine.show(SERVICE, 'NRestarts')) + 1} by Restart="


def two_minutes(site: Site) -> str:
    """Leave the verifier away for two minutes in real time, with the settings and units as they ship.

    Only systemd's patience is shorter: half of that time, if the run did not ask for as much as its settings allow.
    """
    machine = site.machine("two-minutes", deadline="10min")
    machine.write("/etc/systemd/system/hsm-enrol.service.d/patience.conf", IMPATIENT)
    site.party.stop()
    machine.boot()
    booted = monotonic(machine, "multi-user.target", "ActiveEnter")
    begin = monotonic(machine, SERVICE, "ExecMainStart")
    until(lambda: uptime(machine) - begin > AWAY, "two minutes", limit=AWAY + 30)
    see_no_application(machine)
    site.party.start(listen=VERIFIER)
    see_joined(site, machine)
    took = monotonic(machine, SERVICE, "ExecMainExit") - begin
    see_equal(machine.show(SERVICE, "NRestarts"), "0", "restarts")
    return f"multi-user.target {max(0.0, booted - begin):.1f} s after the run began, joined after {took:.0f} s"


def uptime(machine: Machine) -> float:
    """Give the seconds of CLOCK_MONOTONIC, by which systemd's timestamps count."""
    return float(machine.run("python3", "-Ic", "import time; print(time.monotonic())"))


def power_cut(site: Site) -> str:
    """Draw the plug while a Luna tool runs; the next boot undoes that and joins."""
    machine = site.machine("power-cut")
    client = site.client(machine)
    untouched = machine.read(CONF)
    client.switch(newGroup="hang")
    machine.boot()
    until(lambda: any(call.command == "newGroup" for call in client.calls()), "the tool at work")
    see(machine.read(CONF) != untouched, "something changed already")
    machine.power_cut()
    see(machine.has(f"{STATE}/undo"), "the journal of old state after the cut")
    client.switch()
    client.forget_calls()
    machine.boot()
    see_joined(site, machine)
    see_equal(machine.read(CONF).count("ServerName00"), 1, "entries of the first appliance")
    return "cut while vtl was at work; the next boot undid it and joined"


def power_off(site: Site) -> str:
    """Shut down while the agent waits for a verifier: nobody is held up, nothing is changed."""
    machine = site.machine("power-off", deadline="10min")
    site.party.stop()
    machine.boot()
    untouched = machine.read(CONF)
    took = machine.power_off()
    see(took < 10, f"a shutdown in less than 10 s, but in {took:.1f}")
    see_equal(machine.read(CONF), untouched, "Chrystoki.conf")
    site.party.start(listen=VERIFIER)
    machine.boot()
    see_joined(site, machine)
    return f"off after {took:.1f} s; joined at the next boot"


def clock(site: Site) -> str:
    """Show the unit a clock that is 20 minutes slow, and that of another machine one that is 20 minutes fast."""
    for name, seconds in (("slow", -1200), ("fast", 1200)):
        machine = site.machine(f"clock-{name}")
        (machine.root / CLOCK.lstrip("/")).write_bytes((site.folder.parent / "clock.so").read_bytes())
        machine.write(
            "/etc/systemd/system/hsm-enrol.service.d/clock.conf",
            f"[Service]\nEnvironment=LD_PRELOAD={CLOCK} REHEARSAL_CLOCK={seconds}\n",
        )
        machine.boot()
        see_joined(site, machine)
    return "joined with the clock 20 minutes slow, and 20 minutes fast"
