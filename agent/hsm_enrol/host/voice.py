"""Knows how to tell a person, or the journal, what is happening: one line a step, fault and hint on lines of their own.

stderr only; stdout belongs to what was asked for. Lower case, no full stop, no value out of a bundle, never an
exception's text. Read by journald, a line is an entry with a message id (events.py, errors/) and the fields
HSM_ENROL_INSTANCE, _ASSERTION, _VERIFIER, _DECISION, _STEP, _REASON, and each fact of an error by its name. What ends a
failed run goes to stderr as well: a unit with `journal+console` shows it on the console of an instance that nobody can
log in to.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, TextIO

from hsm_enrol.events import OUTCOMES, STEP, WAITING, WARNED, field_of
from hsm_enrol.host import journald
from hsm_enrol.host.phases import Phases
from hsm_enrol.host.printable import printable
from hsm_enrol.host.terminal import BOLD, GREEN, RED, YELLOW, Terminal, open_terminal
from hsm_enrol.shapes import dataclass

if TYPE_CHECKING:
    from hsm_enrol.errors import EnrolError

ERR, WARNING, NOTICE, INFO, DEBUG = 3, 4, 5, 6, 7  # syslog's priorities
_STYLES = {ERR: RED, WARNING: YELLOW, NOTICE: GREEN}
LONGEST = 2000  # characters of a line: a path may have 4,096, and nobody reads that


@dataclass(slots=True)
class Voice:
    """Speaks to `stream`, each line begun with our name; with `prefixes` with `<N>`, which journald cuts off.

    With `journal` (systemd-python's `send`) lines go there instead, as entries with fields; with `terminal` they are
    laid out there, for a person. `phases` are the seconds that each step took.
    """

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    prefixes: bool = False
    verbose: bool = False
    facts: dict[str, str] = field(default_factory=dict)
    journal: journald.Send | None = None
    terminal: Terminal | None = None
    phases: Phases = field(default_factory=Phases)

    def know(self, **facts: str) -> None:
        """Keep what every later line is about: instance, assertion, verifier, decision."""
        self.facts.update(facts)

    def step(self, name: str, text: str) -> None:
        """Say that a step begins; what is said from now on happens in it."""
        self.know(step=name)
        self.phases.begin(name)
        if self.terminal is not None:
            self.terminal.begin(name, printable(text, LONGEST))
        else:
            self._line(INFO, f"{name}: {text}", STEP.message_id)

    def say(self, text: str) -> None:
        """Say something worth knowing."""
        self._line(INFO, text)

    def done(self, how: str, text: str) -> None:
        """Say how a run ended well; `how` is a key of events.OUTCOMES."""
        self._end_step("done")
        self._line(NOTICE, text, OUTCOMES[how].message_id, outcome=how)

    def warn(self, text: str) -> None:
        """Say what is not right and does not stop the run."""
        self._line(WARNING, f"warning: {text}", WARNED.message_id)

    def displaced(self, path: str) -> None:
        """Say where the work is that somebody else did in a file which an undo had to put back."""
        self.warn(
            f"a file was changed by somebody else meanwhile; it is put back as it was, the change is kept as {path}"
        )

    def detail(self, text: str) -> None:
        """Say what only -v wants."""
        if self.verbose:
            self._line(DEBUG, text)

    def wait(self, why: str, seconds: float) -> None:
        """Say what is waited for, and how long at most."""
        if self.terminal is not None:
            self.terminal.wait(printable(why, LONGEST), seconds)
        else:
            self._line(INFO, f"waiting up to {seconds:.0f} s: {why}", WAITING.message_id)

    def fail(self, error: EnrolError) -> None:
        """Say fault, hint and what to type next: the last lines of a run that failed."""
        self._end_step("failed")
        if self.journal is not None:
            facts = {name: str(value) for name, value in error.facts.items()}
            told = {"reason": error.reason} | facts | {"error": error.reason, "exit_status": str(error.status)}
            self._entry(ERR, error.fault(), error.message_id, told)
        self._write(ERR, error.fault())
        if error.advice():
            self._write(ERR, f"hint: {error.advice()}")
        if error.then:
            self._write(ERR, f"next: {error.next_command()}")

    def close(self) -> None:
        """Say nothing more: a step still under way is over, for better or worse."""
        self._end_step("ended")

    def _end_step(self, how: str) -> None:
        self.phases.end()
        if self.terminal is not None:
            self.terminal.end(how)

    def _line(self, priority: int, text: str, message_id: str = "", **told: str) -> None:
        if self.journal is None or not self._entry(priority, text, message_id, told):
            self._write(priority, text)

    def _entry(self, priority: int, text: str, message_id: str, told: dict[str, str]) -> bool:
        """Give journald one entry; False when it does not take it."""
        fields = {field_of(name): printable(value, LONGEST) for name, value in (self.facts | told).items()}
        if message_id:
            fields["MESSAGE_ID"] = message_id
        try:
            self.journal(  # type: ignore[misc]  # both callers looked
                printable(text, LONGEST), PRIORITY=str(priority), SYSLOG_IDENTIFIER=journald.IDENTIFIER, **fields
            )
        except OSError:
            return False
        return True

    def _write(self, priority: int, text: str) -> None:
        """Write one line, whatever is in `text`. That nobody can hear it must not stop a join half-way."""
        if self.terminal is not None:
            advice = BOLD if text.startswith("next: ") else "" if text.startswith("hint: ") else None
            self.terminal.line(printable(text, LONGEST), _STYLES.get(priority, "") if advice is None else advice)
            return
        prefix = f"<{priority}>" if self.prefixes else f"{journald.IDENTIFIER}: "
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(f"{prefix}{printable(text, LONGEST)}\n")
            self.stream.flush()


def open_voice(stream: TextIO | None = None, environ: Mapping[str, str] | None = None) -> Voice:
    """Give the voice that fits where `stream` (stderr) leads: a person, a file, or the journal."""
    stream = sys.stderr if stream is None else stream
    environ = os.environ if environ is None else environ
    if not journald.reads(stream, environ):
        return Voice(stream=stream, terminal=open_terminal(stream, environ))
    return Voice(stream=stream, prefixes=True, journal=journald.sender())
