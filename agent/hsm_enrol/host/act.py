"""Knows how to carry out the steps that change files, and to let a tool rewrite the conf within bounds."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING

from hsm_enrol.deliver import PIN_FILE
from hsm_enrol.errors import ClientMissing, Internal, Interrupted, NotUnderstood, ToolDamage
from hsm_enrol.host import files, signals
from hsm_enrol.host.by_hand import Left
from hsm_enrol.host.conf_file import Moved, encoded, read_conf, rewrite_conf, write_conf
from hsm_enrol.host.folders import below, real_path
from hsm_enrol.host.observe import look, missing_folders
from hsm_enrol.host.tools import Question, ToolRun, run_tool
from hsm_enrol.model import Change, EditConf, Present, PutFile, RunTool, Seen, SetMode, describe
from hsm_enrol.shapes import dataclass

if TYPE_CHECKING:
    from hsm_enrol.host.undo import Journal

WithChanges = Callable[[str, tuple[Change, ...]], str]
ChangesBetween = Callable[[str, str], tuple[Change, ...]]
MayChange = Callable[[Change, RunTool], bool]
Lost = Callable[[str, str], int]
"""The conf's text before and after: how many keys of the site's own servers and groups the second one lacks."""
TOOL_FOLDERS = ("bin", "bin/64")  # of the packages, of the minimal ("tarball") client


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """What acts: inside one journal, with the conf's language given from outside (hsm_enrol.chrystoki).

    Whatever a step names must be watched by the journal; one that is not is a bug, found before anything is written.
    `left` hears of everything that is written, so that an undo knows it from another's work.
    """

    root: str
    conf: str
    journal: Journal
    with_changes: WithChanges
    changes_between: ChangesBetween
    left: Left = field(default_factory=Left)

    def carry_out(self, step: PutFile | SetMode | EditConf, seen: Seen) -> None:
        """Do one step on the host as it was `seen`. Raises Moved when it is not so any more; as put_file does."""
        match step:
            case PutFile():
                self._put(step, seen)
            case SetMode():
                self._must_cover(step.path, step)
                files.set_mode(step.path, mode=step.mode, uid=step.uid, gid=step.gid, root=self.root)
            case EditConf():
                read = read_conf(step.path, self.root)
                self._must_cover(read.trail.path, step)
                self.left.found(read.trail.path, read.content)
                if not isinstance(seen.conf, Present) or read.content != seen.conf.content:
                    raise Moved
                text = self.with_changes(read.text, step.changes)
                self.left.put(read.trail.path, encoded(text))
                write_conf(read, text, self.root)

    def _put(self, step: PutFile, seen: Seen) -> None:
        def unmoved() -> None:
            if look(step.path, self.root, content=step.path != PIN_FILE) != seen.at(step.path):
                raise Moved

        self._must_cover(step.path, step)
        for folder in missing_folders([step.path], self.root):
            self._must_cover(folder, step)
            files.make_folder(folder, root=self.root)
        self.left.put(real_path(below(self.root, step.path), self.root), step.content)
        files.put_file(
            step.path,
            step.content,
            mode=step.mode,
            uid=step.uid,
            gid=step.gid,
            root=self.root,
            private=step.secret,
            guard=unmoved,
            flush="file",  # the journal flushes each folder once, before it commits
        )

    def _must_cover(self, path: str, step: PutFile | SetMode | EditConf) -> None:
        if not self.journal.covers(real_path(below(self.root, path), self.root)) and not self.journal.covers(path):
            raise Internal(kind="an unwatched path", where=describe(step))

    def tool(self, step: RunTool, bench: Bench, pin: bytearray | None = None) -> ToolRun:
        """Run one tool, then replay on the conf as it was what the tool changed in it: comments and links survive.

        Raises ToolDamage when it changed a key that the step does not allow, or the site's own servers and groups, or
        left no conf that can be understood; Interrupted when a signal came; ClientMissing, ToolFailed as run_tool.
        """
        before = read_conf(self.conf, self.root)
        self.left.found(before.trail.path, before.content)
        self.left.let_a_tool_write()
        ran = run_tool(
            (bench.program(step.tool), *step.words),
            pin=pin if step.asks_pin else None,
            timeout=bench.timeout,
            env_conf=bench.env_conf,
            lock_fd=bench.lock_fd,
            existing_objects=bench.existing_objects,
            stop=lambda: bench.stop() or signals.pending() is not None,
            question=bench.question,
        )
        try:
            after = read_conf(self.conf, self.root)
            if (after.content, after.trail) != (before.content, before.trail):
                diff = self.changes_between(before.text, after.text)
                beyond = [change for change in diff if not bench.may_change(change, step)]
                count = len(beyond) + bench.lost(before.text, after.text)
                if count:
                    raise ToolDamage(tool=step.tool, command=bench.verb(step), path=self.conf, count=count)
                text = self.with_changes(before.text, diff)
                self.left.put(before.trail.path, after.content)
                self.left.put(before.trail.path, encoded(text))
                rewrite_conf(before, text, self.root)
            else:
                self.left.put(before.trail.path, before.content)
        except (ClientMissing, NotUnderstood) as error:
            raise ToolDamage(tool=step.tool, command=bench.verb(step), path=self.conf, count=0) from error
        if ran.stopped:
            raise Interrupted(signal=signals.pending() or "request")
        return ran


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """How the tools are run on this host, the same for each of them. `timeout` in seconds."""

    root: str
    prefix: str
    timeout: float
    env_conf: str | None
    lock_fd: int | None
    existing_objects: str
    stop: Callable[[], bool] = field(repr=False)
    question: Question = field(repr=False)
    may_change: MayChange = field(repr=False)
    lost: Lost = field(repr=False)

    def program(self, tool: str) -> str:
        """Give the path on disk of `vtl` or `lunacm`."""
        return path_of_tool(self.root, self.prefix, tool)

    @staticmethod
    def verb(step: RunTool) -> str:
        """Give the words that name a command in an error: those before the first option, never a value."""
        words = step.words[: next((at for at, word in enumerate(step.words) if at and word.startswith("-")), None)]
        return " ".join(words)


def path_of_tool(root: str, prefix: str, tool: str) -> str:
    """Give the path on disk of `vtl` or `lunacm`: of those that may be, the first that is there."""
    found = [below(root, f"{prefix}/{folder}/{tool}") for folder in TOOL_FOLDERS]
    return next(filter(os.path.lexists, found), found[0])


def pin_state(before: str, ran: ToolRun, *, done: bool, refused: bool) -> str:
    """Say what is known of a PIN after a tool that may have taken it: accepted, refused, tried, or as it was.

    `done`: the tool's marker was there and the conf read back says so; `refused`: the output after the PIN says so.
    A PIN that was not typed was not spent; one that was, with no clear end, stays tried and is never tried again. A
    tool that asks about the partition's objects was let in, whatever it does with the answer, if it ends by itself.
    """
    if not ran.pin_sent:
        return before
    if refused:
        return "refused"
    let_in = ran.let_in and ran.status is not None and not ran.asked_again
    return "accepted" if done or let_in else "tried"
