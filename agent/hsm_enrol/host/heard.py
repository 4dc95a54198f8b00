"""Knows what a verifier's reply means: the body that was asked for, come again now, come again later, or no.

R1: what is raised here changes nothing that the agent stores. A reason is the verifier's word; its text for people is
for `-v`, never for a decision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hsm_enrol.errors import Refused, TryLater
from hsm_enrol.host.printable import printable
from hsm_enrol.host.rounds import AtOnce, Later
from hsm_enrol.shapes import dataclass

if TYPE_CHECKING:
    from hsm_enrol.host.exchange import Reply
    from hsm_enrol.wire.messages import Problem

NOW: Final = frozenset({"nonce_stale", "clock_skew"})
LATER: Final = frozenset({"busy", "not_visible_yet", "upstream_busy", "hold"})
_NO_DECISION = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A reply, and when it came (seconds since boot, which nobody sets)."""

    reply: Reply
    came: float

    @property
    def problem(self) -> Problem | None:
        """Give the problem that it is, if it is one."""
        return self.reply.problem

    @property
    def decision(self) -> str:
        """Give the number by which the verifier's operators find this refusal; a hyphen when it has none."""
        return (self.problem.decision if self.problem else None) or _NO_DECISION

    def body(self) -> bytes:
        """Give the body; or raise what a problem means: AtOnce, Later, Refused."""
        problem = self.problem
        if problem is None:
            return self.reply.body
        later = TryLater(reason=problem.reason, decision=self.decision)
        if problem.reason in NOW:
            raise AtOnce(later)
        if problem.reason in LATER:
            raise Later(later, self.reply.retry_after)
        raise Refused(reason=problem.reason, decision=self.decision)

    def told(self) -> str:
        """Say it in one line, without values."""
        problem = self.problem
        if problem is None:
            return f"{self.reply.status}, {len(self.reply.body)} bytes"
        detail = printable(problem.detail)
        return f"{self.reply.status} {problem.reason}, decision {self.decision}" + (f" ({detail})" if detail else "")
