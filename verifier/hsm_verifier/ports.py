"""Knows what decide() wants of its helpers, as shapes: a decision can be tested without AWS or a policy file."""

# ruff: noqa: D102  the class says what each property is

from __future__ import annotations

from typing import Protocol

from hsm_enrol.wire.assertion import Assertion


class Document(Protocol):
    """A verified instance identity document (V5); `pending_time` in Unix seconds."""

    @property
    def instance_id(self) -> str: ...
    @property
    def account_id(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def image_id(self) -> str: ...
    @property
    def instance_type(self) -> str: ...
    @property
    def private_ip(self) -> str: ...
    @property
    def pending_time(self) -> int: ...


class Facts(Protocol):
    """What AWS's API says of an instance (V9); `launch_time` is the last start, Unix seconds, None if unknown."""

    @property
    def launch_time(self) -> float | None: ...


class Group(Protocol):
    """A group's settings in the policy. `level` is the lowest evidence that is served, a word of LEVELS."""

    @property
    def level(self) -> str: ...
    @property
    def kems(self) -> tuple[str, ...]: ...
    @property
    def lost_key(self) -> str: ...
    @property
    def release_gate(self) -> bool: ...
    @property
    def demand_iid(self) -> bool: ...


class Verdict(Protocol):
    """V10 to V12 in one: the group, or None with what differed. Observed mismatches are listed with a group, too."""

    @property
    def group(self) -> str | None: ...
    @property
    def mismatches(self) -> tuple[object, ...]: ...


class Policy(Protocol):
    """Which instance may have what."""

    def lowest_level(self, account: str, region: str) -> str | None:
        """Give the weakest evidence any group there accepts (V4), None when account or region is nobody's."""

    def judge(
        self,
        request: Assertion,
        facts: Facts,
        document: Document | None,
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


class Sts(Protocol):
    """V8: asks AWS who signed."""

    def ask(self, assertion: Assertion) -> object:
        """Return when AWS named exactly this instance; else raise Refusal."""


class Inventory(Protocol):
    """V9: what AWS's API says of an instance."""

    def look_up(self, instance_id: str, account: str, region: str, role: str | None) -> Facts:
        """Give facts, or raise Refusal."""


class Documents(Protocol):
    """V5: checks AWS's signature over an identity document."""

    def knows(self, region: str) -> bool:
        """Tell whether the region's certificate is here."""

    def verify(self, rsa2048: str, region: str) -> Document:
        """Give the document that AWS signed, or raise Refusal."""
