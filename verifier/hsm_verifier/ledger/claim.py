"""Knows what the ledger decides on: one request that passed V1 to V12."""

from __future__ import annotations

from dataclasses import dataclass

from hsm_verifier.ledger.gate import GateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A request that passed V1 to V12. `owner` is the thumbprint of `cnf`, `jwk` its JSON, kept for receipts.

    `launch_time` is EC2's, Unix seconds; `pending_time` the document's; `have` the serial installed there;
    `first_time` says that V11 and V12 were enforced, so O4 (a) may apply; `gate` is None when V13 is not wanted;
    `grants` says which the group's policy lets count: any, those that name the owner, or none ("off").
    """

    instance_id: str
    owner: str
    jwk: str
    group: str
    serial: int
    nonce: str
    level: str
    first_time: bool
    launch_time: float | None
    pending_time: float | None
    have: int | None
    lost_key: str
    gate: GateKey | None
    grants: str = "any"
