"""Knows how to print what `status` found, for a person within 80 columns or as JSON."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from hsm_enrol.cli.metrics import write_metrics
from hsm_enrol.cli.out import GREEN, RED, YELLOW, paint, show, show_json, wrapped
from hsm_enrol.errors import EnrolError
from hsm_enrol.host.last_run import read_last_run
from hsm_enrol.host.printable import printable
from hsm_enrol.host.site import Site
from hsm_enrol.settings import Settings
from hsm_enrol.status import Status, read_status

HEALTHY, UNHEALTHY = 0, 1
LONGEST = 2000  # characters of one finding; a path may have 4,096


def show_status(read: Callable[[], Settings], *, as_json: bool, ask_tools: bool, metrics: str = "") -> int:
    """Print one look at this host, and write it to `metrics` if that is a path; exit 0 healthy, 1 not.

    `read` gives the settings, or raises why there are none: that is a host that cannot be looked at, too.
    """
    now = dt.datetime.now(dt.UTC)
    try:
        settings = read()
        found = read_status(Site.of(settings), ask_tools=ask_tools)
        named = found.record.instance_id if found.record is not None and metrics else ""
        last = read_last_run(named, settings.root) if named else None
    except EnrolError:
        if metrics:  # an old file would go on saying healthy
            write_metrics(metrics, None, None, now)
        raise
    if metrics:
        write_metrics(metrics, found, last, now)
    status = UNHEALTHY if found.problems(now) else HEALTHY
    if as_json:
        show_json(as_members(found, now), status=status)
    else:
        show("\n".join(as_lines(found, now)))
    return status


def as_members(found: Status, now: dt.datetime) -> dict[str, object]:
    """Give what `status --json` tells."""
    installed, record = found.installed, found.record
    members: dict[str, object] = {
        "problems": list(found.problems(now)),
        "warnings": list(found.warnings(now)),
        "cut_off": found.cut_off,
    }
    if installed is not None and record is not None:
        members |= {
            "instance": record.instance_id,
            "serial": installed.serial,
            "since": record.installed_at,
            "group": installed.ha.label,
            "slot": installed.ha.slot,
            "members": list(installed.ha.members),
            "alive": None if found.alive is None else list(found.alive),
            "certificates": [{"what": one.what, "until": one.until.isoformat()} for one in found.certificates],
            "drift": list(found.drift),
            "receipt_due": record.receipt_due is not None,
        }
    return members


def as_lines(found: Status, now: dt.datetime) -> list[str]:
    """Give the lines for a person."""
    lines = []
    installed, record = found.installed, found.record
    if installed is not None and record is not None:
        slot = "unknown" if installed.ha.slot is None else str(installed.ha.slot)
        alive = found.alive
        members = ", ".join(
            f"{one} ({'?' if alive is None else 'alive' if one in alive else 'down'})" for one in installed.ha.members
        )
        until = min(one.until for one in found.certificates)
        lines += [
            f"instance      {record.instance_id}",
            f"serial        {installed.serial}, installed {record.installed_at}",
            f"group         {installed.ha.label}, slot {slot}",
            *_labelled("members", members),
            *_labelled("appliances", ", ".join(one.address for one in installed.servers)),
            f"certificates  good until {until:%Y-%m-%d} ({(until - now).days} days)",
        ]
    for one in found.warnings(now):
        lines += [paint(line, YELLOW) for line in _labelled("warning", one)]
    for one in found.problems(now):
        lines += [paint(line, RED) for line in _labelled("problem", one)]
    return [*lines, paint("healthy", GREEN) if not found.problems(now) else paint("not healthy", RED)]


def _labelled(label: str, text: str) -> list[str]:
    return wrapped(printable(text, LONGEST), f"{label:<14}", " " * 14)
