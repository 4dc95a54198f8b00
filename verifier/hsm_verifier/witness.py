"""Knows what proves that a ledger is not an older copy of itself: one decision that was committed (LG5)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """This key of this instance was given this serial."""

    instance_id: str
    serial: int
    owner: str
