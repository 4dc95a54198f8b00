"""Knows when a verifier last answered this host well, and how long each phase of the last installation took.

Figures for a graph, nothing else: no run depends on them, so they are kept apart from the record, and a boot
that asks nobody leaves them alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field

from hsm_enrol.host import files
from hsm_enrol.host.state import STATE
from hsm_enrol.shapes import dataclass

PATH = f"{STATE}/last-run.json"
ASKED = frozenset({"joined", "changed", "current"})  # the outcomes of a run that asked a verifier; no other is noted
INSTALLATIONS = frozenset({"joined", "changed"})  # the outcomes that installed a bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """What is kept. `at`: Unix seconds by our clock; `seconds`: phase -> seconds of the last installation."""

    instance_id: str
    how: str
    at: int
    seconds: Mapping[str, float] = field(default_factory=dict)


def read_last_run(instance_id: str, root: str = "") -> LastRun | None:
    """Read it; None when there is none of this instance, or none that can be read. Raises CannotTell."""
    data = files.read_file(PATH, root=root, limit=8192)
    try:
        found = LastRun(**json.loads(data)) if data else None
        _ = found and (found.at + 0, [float(one) for one in found.seconds.values()])
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return found if found is not None and found.instance_id == instance_id else None


def note_success(instance_id: str, how: str, at: int, seconds: Mapping[str, float], root: str = "") -> None:
    """Note that a run ended well; one that installed nothing keeps the figures of the last that did. CannotWrite."""
    if how not in INSTALLATIONS:
        before = read_last_run(instance_id, root)
        seconds = before.seconds if before is not None else {}
    members = {
        "instance_id": instance_id,
        "how": how,
        "at": at,
        "seconds": {phase: round(one, 3) for phase, one in seconds.items()},
    }
    files.put_file(PATH, json.dumps(members, indent=1).encode() + b"\n", root=root)
