"""Knows how this host is compared with what was installed: drift, expiry, members, and what is still owed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import field, replace
from pathlib import Path

from hsm_enrol import deliver, luna
from hsm_enrol.errors import EnrolError, ToolFailed
from hsm_enrol.host import state, undo
from hsm_enrol.host.act import Bench
from hsm_enrol.host.folders import below
from hsm_enrol.host.lock import is_held
from hsm_enrol.host.site import Site, understood
from hsm_enrol.host.tools import ToolRun, run_tool
from hsm_enrol.idle import instance_by_firmware
from hsm_enrol.model import Desired, Need, RunTool, der_of, describe
from hsm_enrol.record import Record
from hsm_enrol.shapes import dataclass
from hsm_enrol.tool_runs import fault_of, plain, show_groups
from hsm_enrol.wire.certificate import read_certificate

SOON = 30  # days before an expiry is worth a warning


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What expires, and when (UTC)."""

    what: str
    until: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One look at this host. `alive` None: the tools could not be asked; `tools` says why not.

    `tools_failed`: they were, and what they said is no answer. `changing`: a run is at work in the middle of its files,
    so how they differ is not looked at. `asking`: a run waits for its answer; `unanswered`: one was killed at
    that. `clone`: the instance that this is, where the record is another's; else "". `undelivered`: files with the
    PIN that the settings want and applications do not find.
    """

    record: Record | None
    installed: Desired | None
    drift: tuple[str, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    alive: tuple[str, ...] | None = None
    tools: str = ""
    tools_failed: bool = False
    cut_off: bool = False
    asking: bool = False
    unanswered: bool = False
    changing: bool = False
    clone: str = ""
    undelivered: tuple[str, ...] = ()
    faults: tuple[str, ...] = field(default=())

    def problems(self, now: dt.datetime) -> tuple[str, ...]:
        """Give what makes this host unhealthy, worst first; () is healthy."""
        found = [*self.faults]
        if self.cut_off:
            found.append("a run was cut off; `hsm-enrol enrol` finishes or undoes it")
        if self.clone and self.record is not None:
            of = f"this disk carries the state of {self.record.instance_id}, and this is {self.clone}"
            found.append(f"{of}; `hsm-enrol enrol` asks for its own")
        if self.installed is None:
            return (*found, "not enrolled")
        found += [f"{one.what} expired on {one.until:%Y-%m-%d}" for one in self.certificates if one.until <= now]
        if self.alive == ():
            found.append("no member of the group is alive")
        if self.tools_failed:
            found.append(self.tools)
        found += [f"drift: {one}" for one in self.drift]
        return tuple(found)

    def warnings(self, now: dt.datetime) -> tuple[str, ...]:
        """Give what is not wrong yet."""
        found = []
        for one in self.certificates:
            days = (one.until - now).days
            if one.until > now and days < SOON:
                found.append(f"{one.what} expires in {days} days")
        if self.installed is not None and self.alive:
            found += [f"member {one} is down" for one in self.installed.ha.members if one not in self.alive]
        if self.changing:
            found.append("another run is changing this host right now; look again when it has ended")
        elif self.asking:
            found.append("another run is asking a verifier right now; look again when it has ended")
        if self.unanswered and not self.cut_off:
            again = "enrol" if self.installed is None else "refresh"
            found.append(f"a run was cut off while it asked a verifier; `hsm-enrol {again}` asks again")
        if self.tools and not self.tools_failed:
            found.append(self.tools)
        if self.undelivered:
            lost = deliver.PIN_CREDENTIAL in self.undelivered
            way = (
                "a grant and `hsm-enrol re-enrol` bring it"
                if lost
                else "`hsm-enrol enrol` unseals it, if this host can"
            )
            found.append(f"deliver.pin wants {' and '.join(self.undelivered)}, and it is not there; {way}")
        if self.record is not None and self.record.receipt_due is not None:
            found.append("the verifier was not told yet; `hsm-enrol refresh` tells it")
        if self.record is not None and self.record.pin is not None and self.record.pin.state != "accepted":
            found.append(f"PIN {self.record.pin.id} was {self.record.pin.state} on this host and is not tried again")
        return tuple(found)


def read_status(site: Site, *, ask_tools: bool) -> Status:
    """Look at files, then at what the tools show. Nothing is written, no lock is taken, no PIN is used."""
    root = site.root
    found = _read_files(site, state.read_record(root))
    if found.installed is None or not ask_tools:
        return found
    try:
        return replace(found, alive=_ask(site, found.installed))
    except ToolFailed as error:
        return replace(found, tools=error.fault(), tools_failed=True)
    except EnrolError as error:
        return replace(found, tools=f"the Luna tools could not be asked: {error.fault()}")


def _read_files(site: Site, record: Record | None) -> Status:
    installed = record.installed if record else None
    begun = is_changing(site.root)
    held = is_held(below(site.root, state.LOCK))
    asked = state.read_pending(site.root) is not None
    held = held or is_held(below(site.root, state.LOCK))
    drift, faults = _differences(site, record, installed) if record and installed else ((), ())
    changing = begun or is_changing(site.root)
    return Status(
        record=record,
        installed=installed,
        drift=() if changing else drift,
        certificates=_certificates(installed) if installed else (),
        cut_off=undo.is_open(state.STATE, root=site.root) and not changing,
        asking=asked and held,
        unanswered=asked and not held,
        changing=changing,
        clone=_other_than(record.instance_id, site.root) if record else "",
        undelivered=_undelivered(site, record) if record and installed and not changing else (),
        faults=() if changing else faults,
    )


def _undelivered(site: Site, record: Record) -> tuple[str, ...]:
    if not record.has_good_pin:
        return ()
    return tuple(one for one in deliver.pin_files(site.settings) if not Path(below(site.root, one)).exists())


def _other_than(instance: str, root: str) -> str:
    named = instance_by_firmware(root)
    return named if named != instance else ""


def is_changing(root: str) -> bool:
    """Tell whether a run is in the middle of changing this host's files."""
    return undo.is_open(state.STATE, root=root) and is_held(below(root, state.LOCK))


def _differences(site: Site, record: Record, installed: Desired) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give what is not as it was installed, and why that cannot be told."""
    try:
        desired = site.wanted_now(installed)
        seen = site.look(desired, record.former)
        steps = site.plan(desired, record.former, seen)
        with understood(site.conf):
            steps += tuple(deliver.deliveries(desired, seen, record.former))
    except EnrolError as error:
        return (), (error.fault(),)
    return tuple(f"{one.path} is gone or damaged" if isinstance(one, Need) else describe(one) for one in steps), ()


def _certificates(installed: Desired) -> tuple[Certificate, ...]:
    named = [("the client certificate", installed.client.certificate)]
    named += [(f"the certificate of {one.address}", one.certificate) for one in installed.servers]
    return tuple(Certificate(what=what, until=_expiry(pem)) for what, pem in named)


def _expiry(pem: str) -> dt.datetime:
    return dt.datetime.fromtimestamp(read_certificate(der_of(pem) or b"").not_after, dt.UTC)


def _ask(site: Site, installed: Desired) -> tuple[str, ...]:
    """Give the members that are alive."""
    bench = site.bench(installed, None)

    def run(step: RunTool) -> ToolRun:
        return run_tool(
            (bench.program(step.tool), *step.words),
            pin=None,
            timeout=bench.timeout,
            env_conf=bench.env_conf,
            lock_fd=None,
            existing_objects="quit",
            stop=lambda: False,
            question=bench.question,
        )

    return members_alive(installed, bench, run)


def members_alive(installed: Desired, bench: Bench, run: Callable[[RunTool], ToolRun]) -> tuple[str, ...]:
    """Ask `verify` and the group listing which of our members are there.

    Raises ToolFailed when neither is an answer: that a text is not understood does not mean that nobody is there.
    """
    asked = plain(run, bench)
    verified = asked(RunTool(tool="vtl", words=luna.verify()))
    partitions = luna.partitions(verified.output)
    spoken = show_groups(asked, installed.ha.label)
    shown = [one for one in (luna.groups(spoken[1].output) if spoken else ()) if one.label == installed.ha.label]
    if partitions is None and not shown:
        raise ToolFailed(tool="vtl", command="verify", what=fault_of(verified, done=True))
    listed = {one.serial for one in partitions or ()}.union(*(one.alive for one in shown))
    return tuple(one for one in installed.ha.members if one in listed)
