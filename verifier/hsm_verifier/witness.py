"""Knows what proves that a ledger is not an older copy of itself: one decision that was committed (LG5)."""

from __future__ import annotations

from dataclasses import dataclass

TAKING = frozenset({"new", "next", "granted", "relaunched"})
"""What `ledger.take.Taken.how` says when something was taken: an older copy knows all others' answers too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """This key of this instance was given this serial."""

    instance_id: str
    serial: int
    owner: str
