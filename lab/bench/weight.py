"""Knows what enrolments leave at the verifier and cost at AWS, for one who sizes disks and quotas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """Bytes of the verifier's records. The ledger's are right while no verifier runs: its WAL is folded in then."""

    ledger: int
    audit: int

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Look now; `folder` is the verifier's."""
        ledger, audit = ((folder / name).stat().st_size for name in ("ledger.sqlite", "audit.jsonl"))
        return cls(ledger=ledger, audit=audit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one enrolment is answerable for: bytes, and calls by name."""

    ledger: float
    audit: float
    calls: dict[str, float]

    def line(self) -> str:
        """Write it as a sentence."""
        calls = ", ".join(f"{name} {each:.2f}" for name, each in sorted(self.calls.items()))
        return f"each leaves {self.ledger:.0f} bytes in the ledger and {self.audit:.0f} in the audit; calls: {calls}"


def share(before: Weight, after: Weight, counted: dict[str, dict[str, int]], enrolled: int) -> Share:
    """Divide; `counted` is lab.bench.site.AwsApart's."""
    calls = dict(counted["ec2"]) | {"GetCallerIdentity": sum(counted["sts"].values())}
    return Share(
        ledger=(after.ledger - before.ledger) / enrolled,
        audit=(after.audit - before.audit) / enrolled,
        calls={name: count / enrolled for name, count in calls.items()},
    )
