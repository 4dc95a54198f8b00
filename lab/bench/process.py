"""Knows what one whole process cost: wall time, CPU and peak memory, its children's included (wait4(2))."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

KIB = 1024
TAIL = 800
LIMIT = 30.0  # seconds; the slowest takes about one


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Milliseconds, and MiB of the largest process."""

    wall: float
    cpu: float
    peak: float


class Failed(Exception):
    """A contestant did not do its job: its figures would mean nothing."""


class Runner:
    """Runs one process after the other; each is the child of a small process (lab/bench/spawner.py)."""

    def __init__(self, log: Path, limit: float = LIMIT) -> None:
        """Output of the runs goes to `log`, the last one's only; each is killed after `limit` seconds."""
        self._log, self._limit = log, limit
        self._spawner = subprocess.Popen(
            [os.path.realpath(sys.executable), "-IS", str(Path(__file__).with_name("spawner.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, argv: Sequence[str], environment: Mapping[str, str]) -> Cost:
        """Run to the end. Raises Failed with the end of its output unless the status is 0."""
        stdin, stdout = self._spawner.stdin, self._spawner.stdout
        if stdin is None or stdout is None:
            raise TypeError("both are pipes")
        asked = {"argv": list(argv), "environment": dict(environment), "log": str(self._log), "limit": self._limit}
        stdin.write(json.dumps(asked) + "\n")
        stdin.flush()
        found: dict[str, Any] = json.loads(stdout.readline())
        if found["status"]:
            raise Failed(f"{' '.join(argv[:2])} ended with {found['status']}:\n{self.said[-TAIL:]}")
        return Cost(wall=found["wall"] * 1e3, cpu=found["cpu"] * 1e3, peak=found["peak"] / KIB)

    @property
    def said(self) -> str:
        """Give the output of the last run."""
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Self:
        """Run inside a with block."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the small process."""
        self._spawner.communicate()
