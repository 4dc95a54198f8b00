"""Knows what an error is: templates in the operator's words over named facts, an exit status, a journal message id."""

import string

STATUSES = {
    0: "done, or nothing to do",
    1: "`status`: not healthy; `check`: something would stop an enrolment",
    64: "wrong usage",
    65: "`Chrystoki.conf` or a `java.security` is not understood or in conflict; nothing was changed",
    69: "a Luna tool failed; undone",
    70: "a bug, or the host did not reach the wanted state; undone",
    73: "something cannot be read or written; undone",
    75: "try again: metadata service, verifier, or another run stood in the way",
    76: "the verifier's answer breaks the protocol; nothing was changed",
    77: "refused by the verifier, or the HSM refused the PIN",
    78: "settings are wrong, or there is no Luna client",
}
"""What each exit status means: README and hsm-enrol(8) say the same."""


class EnrolError(Exception):
    """Something that ends a run. `says`, `hint` and `then` are templates over the facts given to the constructor.

    `status` is the process's exit status (sysexits, see README), `reason` the stable word for scripts, `message_id`
    the journal's.
    """

    status = 70
    reason = "internal"
    message_id = ""
    says = ""
    hint = ""
    then = ""

    def __init__(self, **facts: str | int) -> None:
        """Take exactly the facts that the templates name; a TypeError is a bug in this program."""
        wanted = fact_names(type(self))
        if set(facts) != wanted:
            raise TypeError(f"{type(self).__name__} takes {sorted(wanted)}, got {sorted(facts)}")
        self.facts = facts
        super().__init__(self.fault())

    def fault(self) -> str:
        """Give what went wrong, one line, no full stop."""
        return self.says.format(**self.facts)

    def advice(self) -> str:
        """Give what the operator can do about it, one line, may be empty."""
        return self.hint.format(**self.facts)

    def next_command(self) -> str:
        """Give what to type next, one command; facts are quoted, for a path may hold anything."""
        from shlex import quote  # noqa: PLC0415  a run that goes well does without

        return self.then.format(**{name: quote(str(value)) for name, value in self.facts.items()})

    @property
    def decision(self) -> str | None:
        """Give the id under which the verifier's audit has it; None when no verifier decided."""
        found = str(self.facts.get("decision", "-"))
        return None if found == "-" else found


def fact_names(kind: type[EnrolError]) -> set[str]:
    """Give the names that a class's templates use."""
    fields = string.Formatter().parse(kind.says + kind.hint + kind.then)
    return {name for _, name, _, _ in fields if name}


def catalogue() -> list[type[EnrolError]]:
    """Give every error there is, by exit status and then by reason: README's tables are made of this."""
    found: list[type[EnrolError]] = []
    queue = [EnrolError]
    while queue:
        for kind in queue.pop().__subclasses__():
            queue.append(kind)
            if kind.says:
                found.append(kind)
    return sorted(found, key=lambda kind: (kind.status, kind.reason))


class WireError(Exception):
    """Bytes from outside that break a rule of docs/protocol.md: its number, and a fixed word or a member's name."""

    def __init__(self, rule: str, what: str) -> None:
        """Name the rule and the place; never the bytes."""
        self.rule = rule
        self.what = what
        super().__init__(f"{rule} {what}")


class SealError(Exception):
    """A sealed answer that does not open; one error without cause."""
