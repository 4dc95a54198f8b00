"""Knows what another policy would have said to requests that were decided already, by what the audit kept of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hsm_verifier.policy import LEVELS, Policy
from hsm_verifier.refusal import Refusal
from hsm_verifier.remembered import Remembered
from hsm_verifier.request_checks import check_evidence, check_kem

POLICYS_CHECKS = ("V10", "V11", "V12")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a policy says: the group that serves, or None and why not."""

    group: str | None
    why: str

    def __str__(self) -> str:
        """Write it for a table."""
        return self.group if self.group is not None else f"refused: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """One decision and what both policies say to it; `after` is None when it never reached the policy."""

    record: Mapping[str, Any]
    before: Said
    after: Said | None

    @property
    def changes(self) -> bool:
        """Tell whether it would be decided otherwise: another group, or served instead of refused."""
        return self.after is not None and self.before.group != self.after.group


def rehearse(record: Mapping[str, Any], policy: Policy) -> Rehearsed:
    """Judge one enrolment line again."""
    kept, level = Remembered.from_record(record), record.get("level")
    before = _before(record)
    if kept is None or level not in LEVELS:
        return Rehearsed(record=record, before=before, after=None)
    verdict = policy.judge(
        kept,
        kept.seen,
        None,
        source=str(record.get("source", "")),
        now=kept.judged_at,
        first_time=kept.first_time,
    )
    if verdict.group is None:
        why = ", ".join(str(one) for one in verdict.mismatches if one.enforced)
        return Rehearsed(record=record, before=before, after=Said(group=None, why=why))
    group = policy.group(verdict.group)
    try:
        check_evidence(group, level, document=kept.document)
        check_kem(group, kept.kem)
    except Refusal as refusal:
        return Rehearsed(record=record, before=before, after=Said(group=None, why=refusal.detail))
    return Rehearsed(record=record, before=before, after=Said(group=group.name, why=""))


def _before(record: Mapping[str, Any]) -> Said:
    """Give what the policy of then said; what the ledger or the gate said afterwards is not its word."""
    detail = str(record.get("detail") or "")
    if record.get("outcome") != "answered" and detail.startswith(POLICYS_CHECKS):
        found = record.get("mismatches")
        words = [str(one) for one in found if "(observed)" not in str(one)] if isinstance(found, list) else []
        return Said(group=None, why=", ".join(words) or detail)
    group = record.get("group")
    return Said(group=group if isinstance(group, str) else None, why=detail)
