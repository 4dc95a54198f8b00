"""Knows the PIN of one run and what is known of it: noted on disk before each try, and after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from hsm_enrol.shapes import dataclass

UNSPENT = "untried"


@dataclass(slots=True, kw_only=True)
class PinUse:
    """The PIN for this run, and what is known of it. `value` None: there is none.

    `usable`: tools may try it here; `deliverable`: applications may have it.
    `before_try` makes the memory of the try safe on disk (and, on a trial, tells the verifier); `after_try` notes how
    it went. Neither is undone with the rest: a spent try cannot be.
    """

    id: str | None
    value: bytearray | None = field(repr=False)
    state: str
    usable: bool
    deliverable: bool
    before_try: Callable[[], None] = field(repr=False)
    after_try: Callable[[str], None] = field(repr=False)
    begun: bool = field(default=False, init=False)

    def begin(self) -> str:
        """Note the try on disk before it is made; give the state before it.

        Before each tool: that one member took the PIN says nothing of the next. From here on it counts as tried, for
        a tool that damages the conf, a signal or a power cut may end the run in the middle.
        """
        if not self.begun:
            self.before_try()
            self.begun = True
        else:
            self.after_try("tried")
        before, self.state = self.state, "tried"
        return before

    def end(self, reached: str) -> None:
        """Note how it went."""
        self.state = reached
        self.after_try(reached)
