"""Knows which instance may have what: groups in TOML, compared with claims and facts; and why not (V10 to V12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hsm_enrol.wire.assertion import Instance
from hsm_verifier import policy_checks
from hsm_verifier.evidence.iid import Document
from hsm_verifier.inventory.facts import Facts
from hsm_verifier.policy_terms import FIELDS, GRANTS, LEVELS, MODES, Group, Mismatch, PolicyError, Source, Windows

__all__ = [
    "FIELDS",
    "GRANTS",
    "LEVELS",
    "MODES",
    "Claimant",
    "Examined",
    "Group",
    "Mismatch",
    "Policy",
    "PolicyError",
    "Source",
    "Verdict",
    "Windows",
]


class Claimant(Protocol):
    """Whoever is judged, as far as a policy looks: an assertion, or what the audit kept of one."""

    @property
    def instance(self) -> Instance:
        """Give the claims."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The group that serves the instance, or None; and everything that differed."""

    group: str | None
    mismatches: tuple[Mismatch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One group that covers the instance's account and region, and what differed there."""

    group: Group
    mismatches: tuple[Mismatch, ...]

    @property
    def admits(self) -> bool:
        """Tell whether nothing that counts differed."""
        return not any(one.enforced for one in self.mismatches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All groups, in the file's order: the first that admits an instance serves it."""

    groups: tuple[Group, ...]

    def names(self) -> tuple[str, ...]:
        """Give every group's name."""
        return tuple(one.name for one in self.groups)

    def group(self, name: str) -> Group:
        """Give a group by name. KeyError when there is none."""
        return {one.name: one for one in self.groups}[name]

    def lowest_level(self, account: str, region: str) -> str | None:
        """V4: give the weakest evidence that any group of that account and region accepts, None when there is none."""
        levels = [LEVELS.index(one.level) for one in self.groups if one.covers(account, region)]
        return LEVELS[min(levels)] if levels else None

    def handing_out(self, bundle: str, account: str, region: str) -> tuple[Group, ...]:
        """V7: give the groups of that account and region whose members get the bundle of that name."""
        return tuple(one for one in self.groups if one.bundle_name == bundle and one.covers(account, region))

    def judge(
        self, request: Claimant, facts: Facts, _document: Document | None, *, source: str, now: float, first_time: bool
    ) -> Verdict:
        """V10 to V12: find the first group without an enforced mismatch. `now` in Unix seconds, `source` an address.

        The document was compared with the claims before (V6); here the claims are compared with AWS's facts.
        """
        examined = self.examine(request.instance, facts, source=source, now=now, first_time=first_time)
        for one in examined:
            if one.admits:
                return Verdict(group=one.group.name, mismatches=one.mismatches)
        seen = tuple(mismatch for one in examined for mismatch in one.mismatches)
        return Verdict(group=None, mismatches=seen or (Mismatch(check="V10", what="account_or_region", enforced=True),))

    def examine(
        self, claims: Instance, facts: Facts, *, source: str, now: float, first_time: bool
    ) -> tuple[Examined, ...]:
        """Compare with every group of the account and region, in the file's order."""
        return tuple(
            Examined(
                group=group,
                mismatches=(
                    *policy_checks.members(group, facts),
                    *policy_checks.claims(group, claims, facts),
                    *policy_checks.source(group, facts, source, first_time=first_time),
                    *policy_checks.windows(group, facts, now, first_time=first_time),
                ),
            )
            for group in self.groups
            if group.covers(claims.account_id, claims.region)
        )
