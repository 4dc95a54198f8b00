"""Knows how much CPU a running process has used and how much memory it has had, from /proc (proc(5))."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Seconds in user and kernel mode, all threads; peak resident memory in MiB."""

    user: float
    system: float
    peak_mib: float

    @property
    def cpu(self) -> float:
        """Both together."""
        return self.user + self.system


def used_by(pid: int) -> Used:
    """Look now."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return Used(user=int(stat[11]) * TICK, system=int(stat[12]) * TICK, peak_mib=int(status["VmHWM"].split()[0]) / 1024)
