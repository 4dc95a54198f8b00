"""Knows what one whole process cost: wall time, CPU and peak memory, its children's included (wait4(2))."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KIB = 1024
TAIL = 800


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Milliseconds, and MiB of the largest process."""

    wall: float
    cpu: float
    peak: float


class Failed(Exception):
    """A contestant did not do its job: its figures would mean nothing."""


def run(argv: Sequence[str], environment: Mapping[str, str], log: Path) -> Cost:
    """Run to the end; output goes to `log`. Raises Failed with its tail unless the status is 0."""
    with log.open("wb") as output:
        begin = time.perf_counter()
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=dict(environment)
        )
        _, status, used = os.wait4(process.pid, 0)
        end = time.perf_counter()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f"{argv[0]} ended with {process.returncode}:\n{log.read_text(errors='replace')[-TAIL:]}")
    return Cost(wall=(end - begin) * 1e3, cpu=(used.ru_utime + used.ru_stime) * 1e3, peak=used.ru_maxrss / KIB)
