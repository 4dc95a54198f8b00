"""Knows how turns write the audit: the lines of all who ask at the same time are flushed together."""

from __future__ import annotations

from hsm_verifier.aside import Together
from hsm_verifier.audit import Audit, Entry, Fact
from hsm_verifier.chain import Head


class Scribe:
    """Writes for turns into one audit."""

    def __init__(self, audit: Audit) -> None:
        """Take the audit, into which others may write as well."""
        self._writing: Together[Entry, Head] = Together(lambda entries: [*audit.write_all(entries)], name="audit")

    def write(self, event: str, now: float, **facts: Fact) -> Head:
        """Append one line; it is durable when this returns. Raises OSError: then nothing may be answered."""
        return self._writing.ask(Entry(event=event, now=now, facts=facts))

    def close(self) -> None:
        """Wait for what was begun."""
        self._writing.close()
