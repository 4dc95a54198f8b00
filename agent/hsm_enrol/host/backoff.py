"""Knows how long a refused host keeps quiet: a timer asks again after 15 minutes, then later and later, up to 6 hours.

R1: no refusal deletes anything, it only decides how soon to ask again. The note lies in /run: a new boot asks at once,
and so does a person, or a settings file that was changed. Time is CLOCK_BOOTTIME, which nobody can set.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from hsm_enrol.host import files
from hsm_enrol.host.folders import below
from hsm_enrol.host.retry import boottime
from hsm_enrol.host.state import RUN
from hsm_enrol.shapes import dataclass

if TYPE_CHECKING:
    from hsm_enrol.errors import EnrolError

PATH = f"{RUN}/refused.json"
FIRST, LONGEST = 15 * 60.0, 6 * 3600.0  # seconds
SLACK = 60.0  # seconds; a timer that comes a little early finds the time come
REFUSALS = {76, 77}  # statuses that the verifier's word, or a bad answer, leads to


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """A refusal in this boot: its exit status and words, how often in a row, when to ask again (CLOCK_BOOTTIME)."""

    status: int
    reason: str
    fault: str
    count: int
    until: float
    settings: str

    @property
    def remaining(self) -> float:
        """Seconds until this host asks again; 0.0 when the time has come."""
        return max(0.0, self.until - SLACK - boottime())


def read_quiet(root: str, settings_path: str) -> Quiet | None:
    """Read the note; None when there is none, or the settings are others by now."""
    data = files.read_file(PATH, root=root, limit=8192)
    try:
        quiet = Quiet(**json.loads(data)) if data else None
        _ = quiet and (quiet.until + 0.0, quiet.count + 0, quiet.status + 0)
    except (ValueError, TypeError, RecursionError):
        return None
    return quiet if quiet is not None and quiet.settings == digest_of(settings_path) else None


def note_refusal(root: str, settings_path: str, error: EnrolError) -> Quiet:
    """Note a refusal, for longer than the last one in a row. Raises CannotWrite."""
    before = read_quiet(root, settings_path)
    count = before.count + 1 if before is not None else 1
    pause = min(LONGEST, FIRST * 2 ** min(count - 1, 10))
    quiet = Quiet(
        status=error.status,
        reason=error.reason,
        fault=error.fault(),
        count=count,
        until=boottime() + pause,
        settings=digest_of(settings_path),
    )
    files.put_file(PATH, json.dumps({name: getattr(quiet, name) for name in Quiet.__slots__}).encode(), root=root)
    return quiet


def forget_refusal(root: str) -> None:
    """Take the note away: something else than a refusal happened."""
    files.drop_file(PATH, root=root)


def digest_of(settings_path: str) -> str:
    """Give the SHA-256 of the settings file, "" when it cannot be read."""
    try:
        with open(below("", settings_path), "rb") as file:
            return hashlib.sha256(file.read(1 << 20)).hexdigest()
    except OSError:
        return ""
