"""Knows what a stand-in tool was installed with: root, generation, addresses, switches, log."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any, NamedTuple, NoReturn

from lab.luna.generations import GENERATIONS

FLOOD = 2 << 20  # bytes before the real output
PAUSE = 0.4  # seconds between the pieces of slow output


class Row(NamedTuple):
    """A partition that this client sees, and the appliance it is on."""

    serial: str
    label: str
    server: str


class World:
    """One run of a tool. `command` is set once the words were understood: faults are set per command.

    `folder` holds facts.json (made at install), switches.json (read anew in each run) and log.jsonl.
    """

    def __init__(self, folder: str, tool: str) -> None:
        with open(f"{folder}/facts.json", encoding="utf-8") as file:
            facts = json.load(file)
        with open(f"{folder}/switches.json", encoding="utf-8") as file:
            self.switches: dict[str, Any] = json.load(file)
        self.root: str = facts["root"]
        self.prefix: str = facts["prefix"]
        self.maker: list[str] = facts["maker"]
        self.dial: dict[str, tuple[str, int]] = {name: tuple(place) for name, place in facts["dial"].items()}
        self.generation = GENERATIONS[facts["generation"]]
        self.tool = tool
        self.command = ""
        self.rows: list[Row | None] | None = None  # what the appliances listed, once they were asked
        self._log = f"{folder}/log.jsonl"
        self.note("start", tool=tool, argv=sys.argv[1:], environment=sorted(os.environ))

    def place(self, path: str) -> str:
        """Give where a path of the conf is on this disk: below the root, relative ones too (a tool runs in /)."""
        path = path if path.startswith("/") else "/" + path
        return path if path == self.root or path.startswith(self.root + "/") else self.root + path

    def note(self, event: str, **facts: object) -> None:
        """Write a line into the log, whole, whoever else writes."""
        line = json.dumps({"event": event, "pid": os.getpid(), "command": self.command, **facts}) + "\n"
        descriptor = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    def fault(self, name: str) -> bool:
        """Tell whether a fault is switched on for the command that runs."""
        faults: dict[str, list[str]] = self.switches["faults"]
        return name in faults.get(self.command, ()) or name in faults.get("*", ())

    def begin(self, command: str) -> None:
        """Name the command, and play the faults that come before anything is done."""
        self.command = command
        self.note("command")
        if self.fault("deaf"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self.fault("hang") or self.fault("deaf"):
            hang()
        if self.fault("crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.fault("babble"):
            self.leave("Segment 7 of the frobnicator was realigned.", 0)
        if self.fault("error"):
            self.leave("Error: The operation could not be completed.", 0)
        if self.fault("fails"):
            self.leave("Error: The operation could not be completed.", 1)
        if self.fault("flood"):
            sys.stdout.write(("." * 1023 + "\n") * (FLOOD // 1024))

    def end(self) -> None:
        """Play the fault that comes after everything was done."""
        if self.fault("hang-late"):
            hang()

    def say(self, text: str) -> None:
        """Print a text; slowly, in three pieces with pauses, if so switched."""
        text = "It has been seen to.\n" if self.fault("mumbles") else text + "\n"
        if not self.fault("slow"):
            sys.stdout.write(text)
            return
        for at in range(3):
            sys.stdout.write(text[len(text) * at // 3 : len(text) * (at + 1) // 3])
            sys.stdout.flush()
            time.sleep(PAUSE)

    def leave(self, text: str, status: int) -> NoReturn:
        """Print a last text and end."""
        self.say(text)
        sys.exit(status)


def hang() -> NoReturn:
    """Do nothing until killed; what was printed is seen."""
    sys.stdout.flush()
    while True:
        signal.pause()
