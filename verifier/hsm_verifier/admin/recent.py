"""Remembers the audit's newest lines, reading only what was appended since the last look.

The audit may hold anything a person could write into a file, so nothing in a line is relied on: what has another type
than expected counts as absent. Whether the chain is whole is `hsm-verifier audit verify`'s question, not this one's.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from hsm_enrol.wire.assertion import INSTANCE_ID

BEGIN = 8 * 1024 * 1024  # bytes of lines that are kept, and read at the first look from the file's end
KEPT = 20_000  # lines, too: what was read of one takes six times as much, and a short one more
_ELSEWHERE = frozenset({"n", "time", "event", "prev", "instance", "by", "group", "source", "decision", "alarm"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One audit line, as far as it could be understood; `record` is all of it."""

    time: float
    event: str
    instance: str
    outcome: str
    reason: str
    detail: str
    decision: str
    source: str
    group: str
    by: str
    alarm: bool
    record: Mapping[str, Any]

    @property
    def refused(self) -> bool:
        """Tell whether an instance was turned away."""
        return self.event == "enrolment" and self.outcome == "refused"

    @property
    def is_instance(self) -> bool:
        """Tell whether `instance` is an instance id, so that it may become a link."""
        return re.fullmatch(INSTANCE_ID, self.instance, re.ASCII) is not None

    @property
    def is_decision(self) -> bool:
        """Tell whether `decision` is one of ours, so that it may become a link."""
        return re.fullmatch("[0-9a-f]{12}", self.decision, re.ASCII) is not None

    @property
    def why(self) -> str:
        """Give the rest of the story in a few words: the check that failed, how it was answered, what was reported.

        Of an operator's act it is every fact that has no place of its own, by name.
        """
        if not self.outcome:
            told = {name: one for name, one in self.record.items() if name not in _ELSEWHERE}
            return ", ".join(f"{name} {one}" for name, one in told.items() if isinstance(one, str | int | float))
        parts = [self.detail, *(self.record.get(name) for name in ("how", "result", "code", "why"))]
        found = self.record.get("mismatches")
        parts += found if isinstance(found, list) else []
        return ", ".join(dict.fromkeys(part for part in parts if isinstance(part, str) and part))

    @property
    def name(self) -> str:
        """Give what AWS calls the instance: its Name tag, else its private host name."""
        seen = self.record.get("seen")
        if not isinstance(seen, dict):
            return ""
        tags = seen.get("tags")
        tag = tags.get("Name") if isinstance(tags, dict) else None
        return _text(tag) or _text(seen.get("private_dns"))


class Recent:
    """The newest lines of one audit file, newest first; safe for threads."""

    def __init__(self, path: Path) -> None:
        """Read nothing yet."""
        self._path = path
        self._lock = threading.Lock()
        self._lines: deque[Told] = deque()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._names: dict[str, str] = {}
        self._inode = 0
        self._at = 0
        self._last = b""

    def lines(self) -> tuple[Told, ...]:
        """Give what is remembered, after a look at what came since. Raises OSError."""
        with self._lock:
            self._look()
            return tuple(reversed(self._lines))

    def names(self) -> dict[str, str]:
        """Give the host names known by instance id."""
        with self._lock:
            self._look()
            return dict(self._names)

    def _look(self) -> None:
        try:
            with self._path.open("rb") as file:
                self._read(file)
        except FileNotFoundError:
            return

    def _read(self, file: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        if status.st_ino != self._inode or not self._goes_on(file):
            self._inode, self._at, self._last = status.st_ino, max(0, status.st_size - BEGIN), b""
            self._lines.clear()
            self._sizes.clear()
            self._bytes = 0
            self._names.clear()
            if self._at:
                file.seek(self._at)
                self._last = file.readline()  # the rest of a line whose begin is not here
                self._at += len(self._last)
        file.seek(self._at)
        for line in file:
            if not line.endswith(b"\n"):
                return  # being written; next time
            self._at, self._last = self._at + len(line), line
            told = read_line(line)
            if told is not None:
                self._keep(told, len(line))
                if told.name:
                    self._names.pop(told.instance, None)
                    self._names[told.instance] = told.name
                    if len(self._names) > KEPT:
                        del self._names[next(iter(self._names))]

    def _keep(self, told: Told, size: int) -> None:
        self._lines.append(told)
        self._sizes.append(size)
        self._bytes += size
        while self._bytes > BEGIN or len(self._lines) > KEPT:
            self._lines.popleft()
            self._bytes -= self._sizes.popleft()

    def _goes_on(self, file: BinaryIO) -> bool:
        """Tell whether what was read last is still there: else lines were taken back, or a copy was restored."""
        file.seek(self._at - len(self._last))
        return file.read(len(self._last)) == self._last


def read_line(line: bytes | str) -> Told | None:
    """Understand one line as far as possible; None when it is no JSON object."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    return Told(
        time=_time(record.get("time")),
        event=_text(record.get("event")),
        instance=_text(record.get("instance")),
        outcome=_text(record.get("outcome")),
        reason=_text(record.get("reason")),
        detail=_text(record.get("detail")),
        decision=_text(record.get("decision")),
        source=_text(record.get("source")),
        group=_text(record.get("group")),
        by=_text(record.get("by")),
        alarm=record.get("alarm") is True,
        record=record,
    )


def matching(lines: tuple[Told, ...], words: str) -> Iterator[Told]:
    """Give the lines that name exactly this instance, decision, request (jti), or reason."""
    for line in lines:
        if words in {line.instance, line.decision, line.reason, line.record.get("jti"), line.event}:
            yield line


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _time(value: object) -> float:
    try:
        return datetime.fromisoformat(_text(value)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return 0.0
