"""Knows how to write down every decision so that a removed or altered line is found.

One JSON object a line. `prev` is the SHA-256 of the line before, `n` counts; each line is fsynced before the asker
hears anything. A chain cannot show that its newest lines were cut off: the head file beside it shows that for
accidents, to `audit verify` and to the next writer, who says so in the chain (an audit file that is put away takes its
head file along). `audit verify --expect HASH` shows it to anyone who keeps a hash elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hsm_verifier.chain import CUT_OFF, Head, head_of, head_path
from hsm_verifier.chain import noted as noted_head
from hsm_verifier.witness import Witness

_TAIL = 65536
_MANY = 8 * 1024 * 1024  # bytes looked through at a time
_TAKING = frozenset({"new", "next", "granted", "relaunched"})  # ledger.take.Taken.how
_TAKEN_SAYS = tuple(f'"how":"{how}"'.encode() for how in sorted(_TAKING))

Fact = str | int | float | bool | None | list[str] | Mapping[str, "Fact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one line shall say: the event, when (Unix seconds), and facts, of which None is left out."""

    event: str
    now: float
    facts: Mapping[str, Fact]


class Audit:
    """Appends to one file, shared by threads and by the command line beside a running server."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet. `on_cut_off` is called when lines are found to be gone."""
        self._path = path
        self.on_cut_off: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._seen: tuple[int, int, Head] | None = None  # inode, size, head: saves reading the tail again

    def write(self, event: str, now: float, **facts: Fact) -> Head:
        """Append one line and fsync it; None is left out. Raises OSError: then nothing may be answered."""
        return self.write_all([Entry(event=event, now=now, facts=facts)])[0]

    def write_all(self, entries: list[Entry]) -> list[Head]:
        """Append a line for each and fsync them together. Raises OSError: then nothing of them may be answered."""
        heads: list[Head] = []
        with self._lock, self._exclusive() as handle:
            head, lines = self._head(handle, entries[0].now), []
            for entry in entries:
                lines.append(self._line(head, entry.event, entry.now, entry.facts))
                head = Head(n=head.n + 1, hash=hashlib.sha256(lines[-1]).hexdigest())
                heads.append(head)
            _append(handle, b"".join(lines))
            status = os.fstat(handle)
            self._seen = (status.st_ino, status.st_size, head)
            self._note_head(head)
        return heads

    def _line(self, head: Head, event: str, now: float, facts: Mapping[str, Fact]) -> bytes:
        record: dict[str, Fact] = {
            "n": head.n + 1,
            "time": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
            "event": event,
            **{name: value for name, value in facts.items() if value is not None},
            "prev": head.hash,
        }
        return json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[int]:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            os.close(handle)

    def _head(self, handle: int, now: float) -> Head:
        status = os.fstat(handle)
        if self._seen is not None and self._seen[:2] == (status.st_ino, status.st_size):
            return self._seen[2]
        tail = _last_lines(handle, status.st_size) if status.st_size else b""
        whole, torn = tail[: tail.rfind(b"\n") + 1], tail[tail.rfind(b"\n") + 1 :]
        head = end = head_of(whole)
        if torn:
            # A crash tore the last line; it was never answered. End it, and say so in the chain.
            note = self._line(head, "torn_line", now, {"sha256": hashlib.sha256(torn).hexdigest()})
            _append(handle, b"\n" + note)
            head = Head(n=head.n + 1, hash=hashlib.sha256(note).hexdigest())
        noted = noted_head(self._path)
        if noted is not None and noted.n > end.n:
            # Lines were there that are gone: somebody cut the file, or put it away without its head.
            note = self._line(head, CUT_OFF, now, {"alarm": True, "was": noted.n, "hash": noted.hash})
            _append(handle, note)
            head = Head(n=head.n + 1, hash=hashlib.sha256(note).hexdigest())
            self.on_cut_off()
        return head

    def _note_head(self, head: Head) -> None:
        # Not fsynced: after a power cut it may lag behind the chain, which verify accepts; it never runs ahead of it.
        with contextlib.suppress(OSError):
            handle = os.open(head_path(self._path), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(handle, f"{head.n:016d} {head.hash}\n".encode(), 0)
            finally:
                os.close(handle)


def tail(path: Path, count: int, end: int) -> tuple[str, ...]:
    """Give the last lines before `end` bytes, oldest first; no more of the file is read than they want."""
    lines: list[bytes] = []
    for those_before in _from_the_end(path, end):
        lines = those_before.splitlines() + lines
        if len(lines) >= count:
            break
    return tuple(line.decode("ascii", "backslashreplace") for line in lines[max(0, len(lines) - count) :])


def last_taken(path: Path, since: float) -> Witness | None:
    """Give the newest slot that the file says was given to a key, None when there is none after `since`.

    Answers that took nothing new ("again", "current") prove nothing about a ledger: an older copy knows them too.
    All of the file is looked through, its end first: what is newest may be refreshes only, or a stranger's refusals.
    """
    for lines in _from_the_end(path):
        if not any(mark in lines for mark in _TAKEN_SAYS):
            continue
        for line in reversed(lines.splitlines()):
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if record.get("event") == "enrolment" and record.get("how") in _TAKING and not record.get("repeated"):
                    witness = Witness(
                        instance_id=str(record["instance"]), serial=int(record["serial"]), owner=str(record["owner"])
                    )
                    return witness if datetime.fromisoformat(record["time"]).timestamp() > since else None
    return None


def _from_the_end(path: Path, end: int | None = None) -> Iterator[bytes]:
    """Give the file's whole lines, many at a time, the newest first, all or those before `end`."""
    try:
        with path.open("rb") as file:
            end = os.fstat(file.fileno()).st_size if end is None else end
            while end:
                begin = max(0, end - _MANY)
                file.seek(begin)
                lines = file.read(end - begin)
                whole = lines.find(b"\n") + 1 if begin else 0  # the first line's begin is not here
                end = begin + whole if whole < len(lines) else begin
                yield lines[whole:]
    except FileNotFoundError:
        return


def _append(handle: int, lines: bytes) -> None:
    """Write all of it and flush it; what cannot be is taken back, since nobody is answered what it says.

    Half an explanation of a torn line would be two torn lines, which nothing explains.
    """
    size = os.fstat(handle).st_size
    try:
        _write_whole(handle, lines)
        os.fsync(handle)
    except OSError:
        with contextlib.suppress(OSError):  # then it stays, torn perhaps, which the next writer explains
            os.ftruncate(handle, size)
        raise


def _write_whole(handle: int, line: bytes) -> None:
    if os.write(handle, line) != len(line):  # a full disk; the torn line is explained by the next writer
        raise OSError("the audit could not be written whole")


def _last_lines(handle: int, size: int) -> bytes:
    """Give the file's end with at least two whole lines in it, however long they are."""
    window = _TAIL
    while True:
        tail = os.pread(handle, window, max(0, size - window))
        if window >= size or tail[:-1].count(b"\n") > 1:
            return tail
        window *= 2
