"""Remembers browsers: who signed in, and which confirmation forms were given to them (each may be sent once).

A form's ticket belongs to one session and one address, and is gone once used: another site cannot guess it, and a form
sent twice acts once.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from hsm_verifier.admin.tokens import Caller

LIFE = 8 * 3600.0  # seconds: a shift
REMEMBERED = 1000  # sessions; the oldest is forgotten first
TICKETS = 100  # forms open at once in one session


@dataclass(slots=True)
class Session:
    """One browser. `told` is a sentence for the next page."""

    name: str = field(repr=False)
    caller: Caller
    until: float
    tickets: OrderedDict[str, str] = field(default_factory=OrderedDict, repr=False)
    told: str = ""


class Sessions:
    """All of them, in memory: a restart signs everybody out."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Session] = OrderedDict()

    def begin(self, caller: Caller) -> Session:
        """Make one."""
        made = Session(name=secrets.token_urlsafe(32), caller=caller, until=self._clock() + LIFE)
        with self._lock:
            self._open[made.name] = made
            if len(self._open) > REMEMBERED:
                self._open.popitem(last=False)
        return made

    def find(self, name: str) -> Session | None:
        """Give a session that is not over. The name is 256 random bits: looking it up tells nothing by its time."""
        with self._lock:
            found = self._open.get(name)
            if found is not None and found.until <= self._clock():
                del self._open[name]
                found = None
        return found

    def end(self, name: str) -> None:
        """Forget one."""
        with self._lock:
            self._open.pop(name, None)

    def give_ticket(self, session: Session, address: str) -> str:
        """Give a ticket for one form that will be sent to `address`."""
        ticket = secrets.token_urlsafe(24)
        with self._lock:
            session.tickets[ticket] = address
            if len(session.tickets) > TICKETS:
                session.tickets.popitem(last=False)
        return ticket

    def take_ticket(self, session: Session, ticket: str, address: str) -> bool:
        """Tell whether this ticket was given for this address and not used yet; it is used now."""
        with self._lock:
            return session.tickets.pop(ticket, None) == address

    def tell(self, session: Session, sentence: str) -> None:
        """Leave a sentence for the next page."""
        with self._lock:
            session.told = sentence

    def hear(self, session: Session) -> str:
        """Give that sentence, once."""
        with self._lock:
            told, session.told = session.told, ""
        return told
