"""Knows how to make many files change together or not at all: a rollback journal, and one rename that commits.

Copies of what is about to change lie beside their targets; `undo/journal.json` names them; `record.json` carrying the
journal's tx is the commit. Undo is renames only and needs no room on the disk, but where a file that is as it was
cannot be replaced. Whatever kills a run, `settle` finds either a tx that is in the record (finish: drop what is
superseded) or one that is not (undo), and each of its acts can be done twice.

The journal is written twice: first naming only the folders in which copies will lie, so that a run killed while
copying leaves nothing that the next start could not find; then whole.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import contextmanager, suppress
from dataclasses import field
from typing import TYPE_CHECKING

from hsm_enrol.errors import CannotWrite, EnrolError, UndoDamaged, UndoIncomplete
from hsm_enrol.host import files
from hsm_enrol.host.folders import below, errno_name, open_folder
from hsm_enrol.host.keep import ByHand, Entry, keep, nobodys, put_back
from hsm_enrol.shapes import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """journal.json: how to go back, and what goes once there is no way back."""

    tx: str
    folders: tuple[str, ...]
    entries: tuple[Entry, ...] = ()
    drop: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Make the file; paths that are not UTF-8 survive as escaped surrogates."""
        entries = [{"path": e.path, "was": e.was, "to": e.to, "inode": e.inode} for e in self.entries]
        members = {"schema": SCHEMA, "tx": self.tx, "folders": self.folders, "entries": entries, "drop": self.drop}
        return json.dumps(members, indent=1).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, path: str) -> Script:
        """Read the file. It came there by a rename, so anything odd is the disk's fault: UndoDamaged."""
        try:
            members = json.loads(data)
            entries = tuple(Entry(**entry) for entry in members["entries"])
            script = cls(
                tx=members["tx"], folders=tuple(members["folders"]), entries=entries, drop=tuple(members["drop"])
            )
            paths = [*script.folders, *script.drop, *(entry.path for entry in entries)]
            sound = members["schema"] == SCHEMA and bool(script.tx) and all(path.startswith("/") for path in paths)
            sound = sound and all(entry.is_sound() for entry in entries)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UndoDamaged(path=path) from error
        if not sound:
            raise UndoDamaged(path=path)
        return script


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What `settle` found: `nothing`, `undone` or `finished`; and hand edits it had to move aside."""

    outcome: str
    displaced: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Journal:
    """An open transaction: `covers` tells whether a path may be changed in it, `commit` ends it."""

    state: str
    root: str
    script: Script
    committed: bool = field(default=False, init=False)

    @property
    def tx(self) -> str:
        """Give the name of this transaction, for the record."""
        return self.script.tx

    def covers(self, path: str) -> bool:
        """Tell whether `path` can be put back."""
        return any(entry.path == below(self.root, path) for entry in self.script.entries)

    def flush_files(self) -> None:
        """Make the bytes safe of every file that may have changed: whoever else wrote some did not. CannotWrite."""
        for entry in self.script.entries:
            if os.path.isfile(entry.path) and not os.path.islink(entry.path):
                files.fsync_file(entry.path, root=self.root)

    def commit(self, record: bytes) -> None:
        """Make all renames so far safe on disk, then put the record with our tx in place: from here on it is done.

        Raises CannotWrite. When only the last fsync fails the record is there but may not stay: then nothing is
        undone and nothing dropped, and the next start, finding what the disk kept, does one or the other.
        """
        for folder in self.script.folders:
            if os.path.isdir(folder):
                files.fsync_folder(folder, root=self.root)
        files.put_file(f"{self.state}/record.json", record, root=self.root)
        self.committed = True


@contextmanager
def begin(
    state: str,
    *,
    watch: Sequence[str],
    drop: Sequence[str] = (),
    root: str = "",
    tx: str | None = None,
    by_hand: ByHand = nobodys,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Journal]:
    """Open a transaction over the paths in `watch`; leaving the block without `commit` puts everything back.

    `watch`: files and links that may change or appear, and folders that may appear (before what goes into them).
    `drop`: superseded files, removed only after the commit. `tx`: for tests; else 16 random bytes.
    `state`: the folder of record.json. Paths are those below `root`, with or without it in front.
    `by_hand`, `tell`: as in `settle`.
    Raises CannotWrite, UnsafeFile, UnsafeFolder with nothing changed; UndoIncomplete when putting back failed.
    """
    state = below(root, state)
    journal = Journal(state=state, root=root, script=Script(tx=tx or secrets.token_urlsafe(16), folders=()))
    try:
        _save(journal, _on_disk(root, watch), _on_disk(root, drop))
        yield journal
    except BaseException:
        if journal.committed or _tx_in_record(state, root) != journal.tx:
            settle(state, root=root, by_hand=by_hand, tell=tell)
        raise
    settle(state, root=root, by_hand=by_hand, tell=tell)


def _on_disk(root: str, paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(below(root, path) for path in paths))


def _save(journal: Journal, watch: tuple[str, ...], drop: tuple[str, ...]) -> None:
    """Raise the dirty flag, say where copies will lie, make them, then say what they are."""
    state, root, tx = journal.state, journal.root, journal.tx
    files.make_folder(state, root=root, mode=0o700)
    files.make_folder(f"{state}/undo", root=root, mode=0o700)
    folders = tuple(dict.fromkeys([state, *map(os.path.dirname, watch)]))
    journal.script = Script(tx=tx, folders=folders)
    files.put_file(f"{state}/undo/journal.json", journal.script.to_bytes(), root=root)
    entries = tuple(entry for path in watch if (entry := keep(path, root)))
    for folder in dict.fromkeys(os.path.dirname(entry.to) for entry in entries if entry.was == "file"):
        files.fsync_folder(folder, root=root)  # the copies' names; elsewhere nothing has changed yet
    journal.script = Script(tx=tx, folders=folders, entries=entries, drop=drop)
    files.put_file(f"{state}/undo/journal.json", journal.script.to_bytes(), root=root)


def settle(
    state: str, *, root: str = "", by_hand: ByHand = nobodys, tell: Callable[[str], None] = lambda _: None
) -> Settled:
    """Bring an interrupted transaction to its end: back when its tx is not in the record, else forward.

    The first act of every command that writes, under the lock. `by_hand(path, saved, now)` tells whether `now` holds
    work of a person; such a file is renamed to `<path>.hsm-enrol-displaced` before the old one comes back, and `tell`
    hears its new path.
    Raises UndoIncomplete (the journal stays; every entry was tried), UndoDamaged, CannotWrite.
    """
    state = below(root, state)
    undo = f"{state}/undo"
    if not is_open(state, root=root):
        return Settled(outcome="nothing")
    path = f"{undo}/journal.json"
    data = files.read_file(path, root=root, limit=16 << 20)
    script = Script.from_bytes(data, path) if data is not None else Script(tx="", folders=())
    displaced: list[str] = []
    if script.tx and _tx_in_record(state, root) == script.tx:
        files.fsync_folder(state, root=root)  # the rename was seen; is it safe? only then may the old things go
        for old in script.drop:
            files.drop_file(old, root=root)
        outcome = "finished"
    else:
        failed = [entry.path for entry in reversed(script.entries) if not put_back(entry, root, by_hand, displaced)]
        for kept in displaced:
            tell(kept)
        if failed:
            raise UndoIncomplete(count=len(failed), path=failed[0])
        if any(os.path.lexists(entry.to) for entry in script.entries if entry.was == "file"):
            _name_no_copies(script, undo, root)
        outcome = "undone"
    for folder in (*script.folders, undo):
        if os.path.isdir(folder):
            files.sweep(folder, root=root)  # flushes what it changes
            if outcome == "undone":
                files.fsync_folder(folder, root=root)  # what was put back by renaming
    _close(state, root)
    return Settled(outcome=outcome, displaced=tuple(displaced))


def _name_no_copies(script: Script, undo: str, root: str) -> None:
    """Say that all is back, where a copy is left over: once it is swept nothing else would tell that from a lost one.

    CannotWrite leaves the journal whole: then it is all done again.
    """
    for folder in script.folders:
        if os.path.isdir(folder):
            files.fsync_folder(folder, root=root)
    files.put_file(f"{undo}/journal.json", Script(tx=script.tx, folders=script.folders).to_bytes(), root=root)


def is_open(state: str, *, root: str = "") -> bool:
    """Tell whether a transaction has begun and not ended: somebody is at work, or was killed at it."""
    return os.path.isdir(f"{below(root, state)}/undo")


def _close(state: str, root: str) -> None:
    """Take the journal away, then the dirty flag. Copies are gone by now, so dying between the two loses nothing.

    The journal holds no secret and is not overwritten first: a journal of zeros would be a damaged one.
    """
    try:
        with open_folder(f"{state}/undo", root) as folder:
            with suppress(FileNotFoundError):
                os.unlink("journal.json", dir_fd=folder)
            os.fsync(folder)
        with open_folder(state, root) as folder:
            os.rmdir("undo", dir_fd=folder)
            os.fsync(folder)
    except OSError as error:
        raise CannotWrite(path=f"{state}/undo", error=errno_name(error)) from error


def _tx_in_record(state: str, root: str) -> str | None:
    """Read which transaction committed last; a record that cannot be read commits nothing."""
    try:
        data = files.read_file(f"{state}/record.json", root=root)
        tx = json.loads(data)["tx"] if data else None
    except (EnrolError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return tx if isinstance(tx, str) else None
