"""Knows what decide() wants of its helpers, as shapes: a decision can be tested without AWS or a policy file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hsm_enrol.wire.assertion import Assertion
from hsm_verifier.evidence.iid import Document
from hsm_verifier.inventory.facts import Facts
from hsm_verifier.policy import Group, Verdict

if TYPE_CHECKING:
    from hsm_verifier.audit import Fact
    from hsm_verifier.chain import Head


class Policy(Protocol):
    """Which instance may have what."""

    def lowest_level(self, account: str, region: str) -> str | None:
        """Give the weakest evidence any group there accepts (V4), None when account or region is nobody's."""

    def handing_out(self, bundle: str, account: str, region: str) -> tuple[Group, ...]:
        """Give the groups there whose members get the bundle of that name (V7)."""

    def judge(
        self,
        request: Assertion,
        facts: Facts,
        document: Document | None,
        /,
        *,
        source: str,
        now: float,
        first_time: bool,
    ) -> Verdict:
        """Compare claims with facts (V10), source (V11) and windows (V12; both only observed unless `first_time`)."""

    def group(self, name: str) -> Group:
        """Give a group's settings."""

    def names(self) -> tuple[str, ...]:
        """Give every group's name."""


class Audit(Protocol):
    """Takes decisions down."""

    def write(self, event: str, now: float, **facts: Fact) -> Head:
        """Append one line; it is durable when this returns. Raises OSError."""


class Sts(Protocol):
    """V8: asks AWS who signed. Called in a turn: waiting is done by turns.wait_for or in a thread apart."""

    def ask(self, assertion: Assertion) -> object:
        """Return when AWS named exactly this instance; else raise Refusal."""

    def close(self) -> None:
        """Hang up, on the loop that asked."""


class Inventory(Protocol):
    """V9: what AWS's API says of an instance. Waits as Sts does."""

    def look_up(self, request: Assertion) -> Facts:
        """Give facts, or raise Refusal."""


class Documents(Protocol):
    """V5: checks AWS's signature over an identity document."""

    def knows(self, region: str) -> bool:
        """Tell whether the region's certificate is here."""

    def verify(self, rsa2048: str, region: str) -> Document:
        """Give the document that AWS signed, or raise Refusal."""
