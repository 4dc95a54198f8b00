"""Knows how long each phase of a run took, by the name of its step; the same name again adds to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import field

from hsm_enrol.shapes import dataclass


@dataclass(slots=True, kw_only=True)
class Phases:
    """A stop watch. `seconds`: phase -> seconds, in the order in which they began; complete once `end` was called."""

    clock: Callable[[], float] = field(default=time.monotonic, compare=False)
    seconds: dict[str, float] = field(default_factory=dict)
    _open: tuple[str, float] | None = None

    def begin(self, name: str) -> None:
        """End the phase under way and begin another."""
        self.end()
        self._open = (name, self.clock())

    def end(self) -> None:
        """End the phase under way, if there is one."""
        if self._open is not None:
            name, began = self._open
            self.seconds[name] = self.seconds.get(name, 0.0) + self.clock() - began
            self._open = None
