"""Runs a transaction again and again in forked children, each stopped at another system call; judges what is left.

A process of its own, because it forks: `driver.py STORY FAULTS STEP SCRATCH`. FAULTS are separated by commas; STEP 1
tries every point. Prints one JSON object a fault, with counts and what went wrong; the parent test compares.
"""

import errno
import json
import os
import re
import shutil
import signal
import stat
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hsm_enrol.errors import EnrolError, UndoIncomplete
from tests.crash.installs import stories
from tests.crash.stories import JOURNAL, Story

CHANGING = (
    "write fchown fchmod setxattr fsync rename unlink rmdir mkdir symlink link truncate ftruncate open".split()  # noqa: SIM905  a list to read, not to scan
)
RECORD = "var/lib/hsm-enrol/record.json"
RANDOM_TX = re.compile(rb'"tx": "[A-Za-z0-9_-]{22}"')
TAKES_ROOM = {"write", "mkdir", "symlink", "open", "setxattr"}
State = dict[str, tuple[object, ...]]


def snapshot(folder: Path) -> State:
    """Everything about every file below `folder`, apart from times and inodes."""
    seen: State = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        name = str(path.relative_to(folder))
        if stat.S_ISLNK(status.st_mode):
            seen[name] = ("link", str(path.readlink()))
            continue
        attributes = {key: os.getxattr(path, key) for key in os.listxattr(path)}
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        content = RANDOM_TX.sub(b'"tx": "random"', content) if name == RECORD else content
        seen[name] = (status.st_mode, status.st_uid, status.st_gid, str(attributes), content)
    return seen


class Saboteur:
    """Counts the system calls that change things; at number `at` kills the process, or fails the call."""

    def __init__(self, fault: str, at: int) -> None:
        self.fault, self.at, self.count = fault, at, 0

    def arm(self) -> None:
        """Put a wrapper before each of the calls; fsync counts and may fail but does not reach the disk (speed)."""
        for name in CHANGING:
            setattr(os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        """Give the call with the fault before it."""

        def before(*args: object, **kwargs: object) -> object:
            if name == "open" and not int(str(args[1])) & os.O_CREAT:
                return call(*args, **kwargs)
            self.count += 1
            if self.fault == "full":
                if self.count >= self.at and name in TAKES_ROOM:
                    raise OSError(errno.ENOSPC, "sabotage")
            elif self.count == self.at:
                if self.fault == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(getattr(errno, self.fault), "sabotage")
            return None if name == "fsync" else call(*args, **kwargs)

        return before


DONE, FAILED, UNDO_FAILED, BUG = 0, 3, 4, 5


def in_a_child(act: Callable[[], None], fault: str, at: int) -> int:
    """Fork, arm, act; give the wait status's meaning: an exit code, or minus the signal."""
    child = os.fork()
    if child == 0:
        saboteur = Saboteur(fault, at)
        saboteur.arm()
        try:
            act()
            code = DONE
        except UndoIncomplete:
            code = UNDO_FAILED
        except EnrolError:
            code = FAILED
        except BaseException as error:  # noqa: BLE001  a child of the test must never run the rest of the parent
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            code = BUG
        os._exit(code if saboteur.count >= at or code else 9)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@dataclass
class Bench:
    """One story with its old and its new state."""

    story: Story
    scratch: Path

    def __post_init__(self) -> None:
        self.template = self.scratch.with_name("template")
        self.scratch.mkdir()
        self.story.build(self.scratch)
        self.scratch.rename(self.template)
        self.fresh()
        self.old, self.old_tx = snapshot(self.scratch), self.tx()
        self.story.act(self.scratch)
        self.new = snapshot(self.scratch)

    def fresh(self) -> None:
        """Put the tree there anew, at the same place: its record names its paths."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.copytree(self.template, self.scratch, symlinks=True)
        for path in self.template.rglob("*"):
            status = path.lstat()
            if status.st_uid or status.st_gid:
                os.chown(self.scratch / path.relative_to(self.template), status.st_uid, status.st_gid)

    def tx(self) -> str | None:
        """Give the name of the transaction that committed last."""
        try:
            found = json.loads((self.scratch / RECORD).read_bytes())["tx"]
        except FileNotFoundError:
            return None
        return str(found)

    def committed(self) -> bool:
        """Tell whether the point of no return is behind."""
        return self.tx() != self.old_tx

    def judge(self) -> str:
        """Say which state the tree is in."""
        now = snapshot(self.scratch)
        if now == self.old:
            return "old"
        if now == self.new:
            return "new"
        changed = sorted(name for name in now.keys() | self.old.keys() if now.get(name) != self.old.get(name))
        missing = sorted(name for name in now.keys() | self.new.keys() if now.get(name) != self.new.get(name))
        return f"half: {changed} changed, {missing} to go"


def every_point(bench: Bench, fault: str, step: int) -> tuple[Counter[str], list[str]]:
    """Stop at every `step`-th point; recover; judge; run again, which must now succeed."""
    counts: Counter[str] = Counter()
    faults: list[str] = []
    at = 1
    while True:
        bench.fresh()
        code = in_a_child(lambda: bench.story.act(bench.scratch), fault, at)
        if code == 9:
            return counts, faults
        counts["points"] += 1
        if code == FAILED and not bench.committed() and (left := bench.judge()) != "old":
            faults.append(f"{fault} {at}: not undone by itself: {left}")
        if code in {BUG, DONE} and fault == "kill":
            faults.append(f"{fault} {at}: exit {code}")
        if code == BUG:
            faults.append(f"{fault} {at}: a foreign exception")
        bench.story.recover(bench.scratch)
        state = bench.judge()
        counts[state if state in {"old", "new"} else "half"] += 1
        if state not in {"old", "new"}:
            faults.append(f"{fault} {at}: {state}")
        bench.story.act(bench.scratch)
        if (again := bench.judge()) != "new":
            faults.append(f"{fault} {at}: the next run leaves {again}")
        at += step


def killed_twice(bench: Bench, step: int) -> tuple[Counter[str], list[str]]:
    """Kill the run at each point, then the recovery at each of its points, then recover."""
    counts: Counter[str] = Counter()
    faults: list[str] = []
    first = 1
    while True:
        second = 1
        while True:
            bench.fresh()
            if in_a_child(lambda: bench.story.act(bench.scratch), "kill", first) == 9:
                return counts, faults
            if in_a_child(lambda: bench.story.recover(bench.scratch), "kill", second) == 9:
                break
            bench.story.recover(bench.scratch)
            state = bench.judge()
            counts["points"] += 1
            counts[state if state in {"old", "new"} else "half"] += 1
            if state not in {"old", "new"}:
                faults.append(f"killed at {first}, recovery at {second}: {state}")
            second += 1
        first += step


def pretend(fd: object) -> None:
    """Stand in for fsync: nothing here is about this machine's own power."""


def main() -> None:
    """Run what argv says."""
    story, faults, step, scratch = sys.argv[1:]
    os.fsync = pretend
    bench = Bench(JOURNAL if story == "journal" else stories()[story], Path(scratch) / "tree")
    for fault in faults.split(","):
        act = killed_twice(bench, int(step)) if fault == "kill twice" else every_point(bench, fault, int(step))
        print(json.dumps({"fault": fault, "counts": act[0], "wrong": act[1]}))


main()
