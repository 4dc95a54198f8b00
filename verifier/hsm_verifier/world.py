"""Knows what a decision has at hand: the world, the request and what was found out about it, and the audit's trail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from hsm_enrol.wire.assertion import Assertion
    from hsm_verifier.answer_keys import AnswerKeys
    from hsm_verifier.audit import Fact
    from hsm_verifier.evidence.iid import Document
    from hsm_verifier.ledger.clerk import Clerk
    from hsm_verifier.ledger.known import Known
    from hsm_verifier.ledger.sightings import Waits
    from hsm_verifier.ledger.store import Store
    from hsm_verifier.limits import Buckets
    from hsm_verifier.nonce import Nonces
    from hsm_verifier.policy import Group
    from hsm_verifier.ports import Documents, Inventory, Policy, Sts
    from hsm_verifier.vault import Bundles


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that decisions need beside the request itself. `clerk` is who decisions ask of `store`, the ledger.

    `clock` is Unix seconds; `asks` limits each instance id, at each level of evidence.
    """

    audience: str
    policy: Policy
    store: Store
    clerk: Clerk
    vault: Bundles
    nonces: Nonces
    keys: AnswerKeys
    sts: Sts
    inventory: Inventory
    documents: Documents
    asks: Buckets
    clock: Callable[[], float]
    rng: random.Random


@dataclass(slots=True)
class Trail:
    """What became known while deciding: for the audit line, and whether the asker may hear more than a stranger."""

    proved: bool = False
    alarm: bool = False
    facts: dict[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request and what was found out about it offline."""

    request: Assertion
    source: str
    shown: str
    document: Document | None
    known: Known | None
    waits: Waits | None

    @property
    def first_time(self) -> bool:
        """Tell whether the instance has no slot of any serial, so that V11 and V12 are enforced (O4)."""
        return self.known is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the policy said: the group that serves, and whether that took a grant in place of V11 and V12 (O6)."""

    group: Group
    by_grant: bool
