"""Knows how to show a run to a person at a terminal: steps as they run with their seconds, long lines wrapped, colours.

    hsm-enrol: register vtl addServer -n hsm1.example                             0.3 s

The step under way is written again each second, by a timer's signal and not by a thread: so there is nothing to lock,
and nothing left to end. What is said during a step gets lines of its own below it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, TextIO

from hsm_enrol.shapes import dataclass

if TYPE_CHECKING:
    from types import FrameType

WIDEST, NARROWEST = 80, 40  # columns: a line is read best at 80; below 40 nothing is laid out
NAME = "hsm-enrol: "
STEP, CLOCK = 9, 9  # columns of a step's name and of its seconds
TICK = 1.0  # seconds between two looks of the step under way
BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"


def is_terminal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether a person may be at the other end, at something that can go back to a line's start."""
    try:
        return os.isatty(stream.fileno()) and environ.get("TERM", "dumb") != "dumb"
    except (OSError, ValueError):  # closed, or no file at all
        return False


def coloured(stream: TextIO | None = None, environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether colours are welcome on `stream` (stdout): on a terminal, and NO_COLOR (no-color.org) is not set."""
    environ = os.environ if environ is None else environ
    return not environ.get("NO_COLOR") and is_terminal(sys.stdout if stream is None else stream, environ)


def columns(stream: TextIO) -> int:
    """Give how wide a line of ours may be there."""
    try:
        found = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        found = WIDEST
    return min(found or WIDEST, WIDEST)


def open_terminal(stream: TextIO, environ: Mapping[str, str]) -> Terminal | None:
    """Give the terminal that `stream` leads to; None when it leads to none, or to one too narrow."""
    if not is_terminal(stream, environ) or (width := columns(stream)) < NARROWEST:
        return None
    return Terminal(stream=stream, width=width, colours=coloured(stream, environ))


@dataclass(slots=True, kw_only=True)
class _Step:
    name: str
    text: str  # what stands in its last line
    began: float
    interrupted: bool = False  # lines were said in it, so it goes on below them
    until: float = 0.0  # while something is waited for: when that ends


@dataclass(slots=True, kw_only=True)
class Terminal:
    """One terminal; `clock` counts seconds. `tick` is safe at any moment of this thread's work."""

    stream: TextIO
    width: int = WIDEST
    colours: bool = False
    clock: Callable[[], float] = time.monotonic
    _step: _Step | None = None
    _busy: bool = False
    _before: object = field(default=None)

    def begin(self, name: str, text: str) -> None:
        """Show a step that begins; the one before is over."""
        self.end()
        with self._at_work():
            *above, last = textwrap.wrap(text, self._room, break_on_hyphens=False) or [""]
            for number, line in enumerate(above):
                self._write(self._label("" if number else name) + line + "\n")
            self._step = _Step(name="" if above else name, text=last, began=self.clock())
            self._draw()
        self._start_ticking()

    def end(self, how: str = "done") -> None:
        """Show how long the step under way took, if there is one; `how` for one that lines were said in."""
        self._stop_ticking()
        with self._at_work():
            if self._step is not None:
                if self._step.interrupted:
                    self._step.text = how
                self._step.until = 0.0
                self._draw(final=True)
                self._step = None

    def line(self, text: str, style: str = "") -> None:
        """Show a line of its own, wrapped; a command after `next:` stays whole, to be copied."""
        with self._at_work():
            step = self._step
            if step is not None and not step.interrupted:
                self._write(f"\r{self._label(step.name)}{step.text}\x1b[K\n")
                step.interrupted, step.text = True, "going on"
            elif step is not None:
                self._write("\r\x1b[K")
            whole = text.startswith("next: ")
            for line in [NAME + text] if whole else self._wrapped(text):
                self._write(self._painted(line, style) + "\n")
            if step is not None:
                self._draw()

    def wait(self, why: str, seconds: float) -> None:
        """Show what is waited for and until when, and count the seconds down."""
        until = time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))
        self.line(f"waiting {seconds:.0f} s, until {until}: {why}", YELLOW)
        if self._step is not None:
            self._step.until = self.clock() + seconds

    def tick(self) -> None:
        """Show the step under way as it is now."""
        if self._step is not None and not self._busy:
            with self._at_work():
                self._draw()

    @property
    def _room(self) -> int:
        """Columns for a step's text; the last column stays free, where terminals differ in what happens next."""
        return self.width - len(NAME) - STEP - CLOCK - 1

    def _label(self, name: str) -> str:
        return NAME + self._painted(f"{name:<{STEP}}", BOLD)

    def _wrapped(self, text: str) -> list[str]:
        return textwrap.wrap(
            text,
            self.width - 1,
            initial_indent=NAME,
            subsequent_indent=" " * len(NAME),
            break_long_words=False,
            break_on_hyphens=False,
        )

    def _draw(self, *, final: bool = False) -> None:
        """Write the step's last line over itself: whole seconds while it runs, tenths when it is over."""
        step, now = self._step, self.clock()
        if step is None:
            return
        text = f"waiting, {step.until - now:.0f} s left" if step.until > now else step.text
        seconds = f"{now - step.began:.1f} s" if final else f"{now - step.began:.0f} s"
        line = self._label(step.name) + f"{text:<{self._room}}" + self._painted(f"{seconds:>{CLOCK}}", DIM)
        self._write(f"\r{line}\x1b[K" + ("\n" if final else ""))

    def _painted(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self.colours and style else text

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # that nobody can see it must not stop a join half-way
            self.stream.write(text)
            self.stream.flush()

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Keep the timer's signal from writing into a line that is being written."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def _start_ticking(self) -> None:
        self._before = signal.signal(signal.SIGALRM, self._on_alarm) or signal.SIG_DFL
        signal.siginterrupt(signal.SIGALRM, False)  # noqa: FBT003  no system call of anybody's ends for it
        signal.setitimer(signal.ITIMER_REAL, TICK, TICK)

    def _stop_ticking(self) -> None:
        if self._before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, self._before)  # type: ignore[arg-type]  # what signal.signal gave
            self._before = None

    def _on_alarm(self, _: int, __: FrameType | None) -> None:
        self.tick()
