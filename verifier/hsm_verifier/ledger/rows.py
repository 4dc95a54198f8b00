"""Knows the single statements that move a slot, an owner or a grant; the row count tells whether one did (LG1)."""

from hsm_verifier.ledger.claim import Claim
from hsm_verifier.ledger.grant_rows import use_grant
from hsm_verifier.ledger.owner_rows import (
    MAX_TAKEOVERS,
    begin,
    bind_key,
    is_owner,
    lock,
    refresh_instance,
    relaunched,
    replace_owner,
)
from hsm_verifier.ledger.slot_rows import (
    ANSWERS_AN_HOUR,
    HOUR,
    confirm,
    insert_slot,
    retake,
    revoked,
    seal_again,
    state,
)

__all__ = [
    "ANSWERS_AN_HOUR",
    "HOUR",
    "MAX_TAKEOVERS",
    "Claim",
    "begin",
    "bind_key",
    "confirm",
    "insert_slot",
    "is_owner",
    "lock",
    "refresh_instance",
    "relaunched",
    "replace_owner",
    "retake",
    "revoked",
    "seal_again",
    "state",
    "use_grant",
]
