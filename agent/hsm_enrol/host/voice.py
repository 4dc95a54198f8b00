"""Knows how to tell a person, or the journal, what is happening: one line a step, fault and hint on lines of their own.

stderr only; stdout belongs to what was asked for. Lower case, no full stop, no value out of a bundle.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from hsm_enrol.errors import EnrolError

ERR, WARNING, NOTICE, INFO, DEBUG = 3, 4, 5, 6, 7  # syslog's priorities


@dataclass(slots=True)
class Voice:
    """Speaks to `stream`; with `prefixes` each line begins with `<N>`, which journald reads and cuts off."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    prefixes: bool = False
    verbose: bool = False
    facts: dict[str, str] = field(default_factory=dict)

    def know(self, **facts: str) -> None:
        """Keep what every later line is about: instance, assertion, verifier, decision."""
        self.facts.update(facts)

    def step(self, name: str, text: str) -> None:
        """Say that a step begins."""
        self._line(INFO, f"{name}: {text}")

    def say(self, text: str) -> None:
        """Say something worth knowing."""
        self._line(INFO, text)

    def warn(self, text: str) -> None:
        """Say what is not right and does not stop the run."""
        self._line(WARNING, f"warning: {text}")

    def detail(self, text: str) -> None:
        """Say what only -v wants."""
        if self.verbose:
            self._line(DEBUG, text)

    def wait(self, why: str, seconds: float) -> None:
        """Say what is waited for, and how long at most."""
        self._line(INFO, f"waiting up to {seconds:.0f} s: {why}")

    def fail(self, error: EnrolError) -> None:
        """Say the fault, the hint, and the exit status: the last lines of a run that failed."""
        self._line(ERR, error.fault())
        if error.advice():
            self._line(ERR, f"hint: {error.advice()}")

    def _line(self, priority: int, text: str) -> None:
        prefix = f"<{priority}>" if self.prefixes else ""
        self.stream.write(f"{prefix}hsm-enrol: {text}\n")
        self.stream.flush()
