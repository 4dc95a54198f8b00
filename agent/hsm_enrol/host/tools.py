"""Knows how to run a Luna tool as a careful person would: on a terminal, waiting for its questions, with a time limit.

The PIN is typed once, after the tool has asked and with echo off; it is never an argument, never in the environment.
What a question, a refusal or a usage text looks like is hsm_enrol.luna's business.
"""

from __future__ import annotations

import os
import select
import signal
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import field

from hsm_enrol.errors import ClientMissing, ToolFailed
from hsm_enrol.host.child import Child, start
from hsm_enrol.host.folders import errno_name
from hsm_enrol.host.service_manager import ask_for_time
from hsm_enrol.shapes import dataclass

CAP = 64 * 1024  # bytes of output kept, the last ones
QUIET = 0.3  # seconds without output before a line counts as a question
TICK = 0.05  # seconds between looks at `stop` and the clock
LAST_WORDS = 64  # reads after the end: more than a terminal holds, and an orphan cannot keep us reading
GRACE = 2.0  # seconds between SIGTERM and SIGKILL
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

Question = Callable[[str], str | None]  # the unread tail of the output -> "pin", "objects" or None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRun:
    """How a tool ended. `status` None: it was killed, or died of a signal. `after_pin`: the output after the PIN.

    `let_in`: after the PIN it asked about the partition's objects, which only who is logged in can see.
    """

    status: int | None
    output: str = field(repr=False)
    after_pin: str = field(repr=False, default="")
    asked: bool = False
    pin_sent: bool = False
    asked_again: bool = False
    let_in: bool = False
    timed_out: bool = False
    stopped: bool = False


def run_tool(
    argv: Sequence[str],
    *,
    pin: bytearray | None,
    timeout: float,
    env_conf: str | None,
    lock_fd: int | None,
    existing_objects: str,
    stop: Callable[[], bool],
    question: Question,
) -> ToolRun:
    """Run `argv` to its end and say how it went; never raises for what the tool did.

    pin: typed at the first "pin" question; the owner zeroes it. Asked without one, or a second time, the tool is
    killed: a try costs the fleet. timeout: seconds. env_conf: folder for ChrystokiConfigurationPath. lock_fd: stays
    open in the tool, so that the lock outlives us if the tool does. existing_objects: answer to an "objects" question.
    Raises ClientMissing when the program is not there, ToolFailed when it cannot be started.
    """
    ask_for_time(timeout)
    master, slave = os.openpty()
    try:
        try:
            process = _start(argv, slave, env_conf, lock_fd)
        except OSError as error:
            if not os.path.lexists(argv[0]):
                raise ClientMissing(path=argv[0]) from error
            what = f"it cannot be started ({errno_name(error)})"
            raise ToolFailed(tool=os.path.basename(argv[0]), command=argv[1], what=what) from error
        finally:
            os.close(slave)
        talk = _Talk(master=master, process=process, pin=pin, objects=existing_objects, question=question)
        return talk.to_the_end(time.monotonic() + timeout, stop)
    finally:
        os.close(master)


def _start(argv: Sequence[str], slave: int, env_conf: str | None, lock_fd: int | None) -> Child:
    """Give it an exact environment: NOTIFY_SOCKET, LD_PRELOAD or a proxy variable of ours is none of its business."""
    environment = {"PATH": PATH, "LC_ALL": "C", "TERM": "dumb"}
    if env_conf is not None:
        environment["ChrystokiConfigurationPath"] = env_conf
    return start(argv, slave, environment, lock_fd)


@dataclass(slots=True, kw_only=True)
class _Talk:
    """One conversation. `unread` starts after the last answer: no question is answered twice."""

    master: int
    process: Child
    pin: bytearray | None
    objects: str
    question: Question
    output: bytearray = field(default_factory=bytearray, repr=False)
    unread: bytearray = field(default_factory=bytearray, repr=False)
    after_pin: bytearray = field(default_factory=bytearray, repr=False)
    asked: bool = False
    pin_sent: bool = False
    asked_again: bool = False
    let_in: bool = False

    def to_the_end(self, deadline: float, stop: Callable[[], bool]) -> ToolRun:
        timed_out = stopped = False
        heard = time.monotonic()
        while True:
            if self._listen(TICK):
                heard = time.monotonic()
            if self.process.poll() is not None:
                break
            timed_out, stopped = time.monotonic() >= deadline, stop()
            if timed_out or stopped:
                break
            if time.monotonic() - heard >= QUIET and not self._answer():
                break
        ended_by_itself = self.process.poll() is not None
        self._end()
        for _ in range(LAST_WORDS):
            if not self._listen(0):
                break
        status = self.process.returncode
        return ToolRun(
            status=status if ended_by_itself and status is not None and status >= 0 else None,
            output=self._text(self.output),
            after_pin=self._text(self.after_pin),
            asked=self.asked,
            pin_sent=self.pin_sent,
            asked_again=self.asked_again,
            let_in=self.let_in,
            timed_out=timed_out,
            stopped=stopped,
        )

    def _listen(self, wait: float) -> bool:
        """Read what is there, waiting at most so long; False when nothing came. A closed terminal is no error."""
        if not select.select([self.master], [], [], wait)[0]:
            return False
        try:
            heard = os.read(self.master, CAP)
        except OSError:  # EIO: nobody holds the other end any more
            heard = b""
        if not heard:
            self.process.wait_for(wait)  # closed before it ended; do not spin
            return False
        for buffer in (self.output, self.unread, *([self.after_pin] if self.pin_sent else [])):
            buffer.extend(heard)
            self._forget_pin(buffer)
            del buffer[:-CAP]
        return True

    def _forget_pin(self, buffer: bytearray) -> None:
        """Blot the PIN out of what a tool echoed against our wish."""
        while self.pin and (at := buffer.find(self.pin)) >= 0:
            buffer[at : at + len(self.pin)] = b"*" * len(self.pin)

    def _answer(self) -> bool:
        """Answer if the tool asks; False when the talk has to end here."""
        kind = self.question(self._text(self.unread))
        if kind is None:
            return True
        self.asked = self.asked or kind == "pin"
        if kind == "pin" and (self.pin_sent or not self.pin):
            self.asked_again = self.pin_sent
            return False
        self.unread.clear()
        if kind == "pin" and self.pin:
            self._echo_off()
            self.pin_sent = True  # before the first byte: whatever happens now, a try may have been spent
            self._type(self.pin)
        else:
            self.let_in = self.pin_sent
            self._type(self.objects.encode())
        self._type(b"\r")
        return True

    def _echo_off(self) -> None:
        """Do what the tool should have done; a terminal in raw mode has no echo to switch off."""
        modes = termios.tcgetattr(self.master)
        if modes[3] & termios.ECHO:
            modes[3] &= ~termios.ECHO
            termios.tcsetattr(self.master, termios.TCSANOW, modes)

    def _type(self, keys: bytes | bytearray) -> None:
        with suppress(OSError), memoryview(keys) as rest:
            sent = 0
            while sent < len(rest):
                sent += os.write(self.master, rest[sent:])

    def _end(self) -> None:
        """Make sure that it has ended: SIGTERM to the whole group, a grace, SIGKILL. Reading on, lest it blocks."""
        if self.process.poll() is None:
            self._signal(signal.SIGTERM)
            limit = time.monotonic() + GRACE
            while self.process.poll() is None and time.monotonic() < limit:
                self._listen(TICK)
        if self.process.poll() is None:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _text(self, buffer: bytearray) -> str:
        return buffer.decode("utf-8", "replace").replace("\r\n", "\n")
