"""Knows whether a file that an undo is about to replace holds somebody else's work, which must not get lost.

In the run that is undone we know what we left in each file. After a kill only the sections of Chrystoki.conf that
neither we nor the tools write tell. So it is with what a tool leaves, too, until that was read back.
"""

from __future__ import annotations

import hashlib
from dataclasses import field

from hsm_enrol import chrystoki
from hsm_enrol.shapes import dataclass

_OURS = {chrystoki.CLIENT, chrystoki.TOKENS, chrystoki.SYNCHRONIZE, chrystoki.HA}


@dataclass(slots=True)
class Left:
    """What this run may have left in files, by path on disk and digest. Anything else there is somebody else's."""

    _left: dict[str, set[bytes]] = field(default_factory=dict, repr=False)
    _mixed: set[str] = field(default_factory=set, repr=False)
    _a_tool_ran: bool = field(default=False, repr=False)

    def found(self, path: str, content: bytes) -> None:
        """Compare what is about to be replaced with what we left: on another's work ours is built from now on."""
        if path in self._left and _digest(content) not in self._left[path]:
            self._mixed.add(path)

    def put(self, path: str, content: bytes) -> None:
        """Note what stands there, or will in a moment: before it is written, for writing may fail half way."""
        self._left.setdefault(path, set()).add(_digest(content))

    def let_a_tool_write(self) -> None:
        """Forget what is known: a tool runs."""
        self._a_tool_ran = True
        self._left.clear()

    def by_hand(self, path: str, saved: bytes, now: bytes) -> bool:
        """Tell whether `now`, which is not `saved`, holds work that is neither ours nor a tool's."""
        if path in self._mixed or (path not in self._left and not self._a_tool_ran):
            return True
        if path in self._left:
            return _digest(now) not in self._left[path]
        return other_sections_differ(path, saved, now)


def other_sections_differ(_: str, saved: bytes, now: bytes) -> bool:
    """Tell whether a conf holds work of a person: a key changed in a section that neither we nor the tools write.

    An empty text, or one cut in the middle, is a dying tool's. A certificate has no sections, so nothing differs in it.
    """
    text = chrystoki.decode(now)
    try:
        if not chrystoki.is_whole(chrystoki.parse(text)):
            return False
        changes = chrystoki.changes_between(chrystoki.decode(saved), text)
    except chrystoki.NotUnderstood:
        return False
    return any(change.section not in _OURS for change in changes)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
