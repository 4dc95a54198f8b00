"""Knows the checks of a request that ask nobody: V2 to V6, and what a group demands of its evidence (V10)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from hsm_enrol.errors import WireError
from hsm_enrol.wire.assertion import Assertion, verify_assertion
from hsm_verifier.policy import LEVELS
from hsm_verifier.refusal import Refusal

if TYPE_CHECKING:
    from hsm_verifier.audit import Fact
    from hsm_verifier.evidence.iid import Document
    from hsm_verifier.ledger.known import Known
    from hsm_verifier.policy import Group
    from hsm_verifier.world import World

CLOCK_SKEW = 300.0  # V4: seconds that amz-date may differ from this party's clock


def parse(body: bytes) -> Assertion:
    """V2, V3: strict parse, signature by `cnf`, seal key proven usable."""
    try:
        return verify_assertion(body)
    except WireError as error:
        strange = error.what.endswith((".eat_profile", ".kem"))
        reason = "too_large" if error.rule == "V1" else "unsupported" if strange else "malformed"
        raise Refusal(reason, f"V2 {error.rule} {error.what}") from None


def about(request: Assertion) -> dict[str, Fact]:
    """Give what the audit keeps of a request: names and ids, no evidence."""
    return {
        "instance": request.sub,
        "account": request.instance.account_id,
        "region": request.instance.region,
        "jti": request.jti,
        "owner": request.cnf.thumbprint,
        "why": request.reason,
        "have": request.have,
        "pin": request.pin,
    }


def check_request(request: Assertion, world: World) -> str:
    """V4: what can be told from the request and the policy alone. Gives the level of the evidence shown."""
    now = world.clock()
    if request.aud != world.audience:
        raise Refusal("unsupported", "V4 audience")
    world.nonces.check(request.eat_nonce, now)
    role = request.identity_role
    shown = "identity-role" if role else "iid" if request.iid else "fields"
    lowest = world.policy.lowest_level(request.instance.account_id, request.instance.region)
    if lowest is None:
        raise Refusal("evidence_invalid", "V4 account_or_region")
    if LEVELS.index(shown) < LEVELS.index(lowest):
        raise Refusal("evidence_missing", f"V4 {shown}_below_{lowest}")
    if role is not None:
        if role.region != request.instance.region:
            raise Refusal("evidence_invalid", "V4 role_region")
        if abs(_unix(role.amz_date) - now) > CLOCK_SKEW:
            raise Refusal("clock_skew", "V4 amz_date")
    if world.keys.choose(request.trust) is None:
        raise Refusal("unsupported", "V4 trust")
    return shown


def check_document(request: Assertion, shown: str, world: World) -> Document | None:
    """V5, V6: AWS's signature over the identity document, and the claims equal it.

    A document is looked at when the region's certificate is here, or when nothing stronger was shown.
    """
    region = request.instance.region
    if request.iid is None or (shown == "identity-role" and not world.documents.knows(region)):
        return None
    document = world.documents.verify(request.iid, region)
    claims = request.instance
    pairs = {
        "instance_id": (document.instance_id, request.sub),
        "account_id": (document.account_id, claims.account_id),
        "region": (document.region, region),
        "image_id": (document.image_id, claims.image_id),
        "instance_type": (document.instance_type, claims.instance_type),
        "private_ip": (document.private_ip, claims.local_ipv4),
    }
    differs = tuple(name for name, (said, claimed) in pairs.items() if said != claimed)
    if differs:
        raise Refusal("evidence_invalid", "V6 document_differs", mismatches=differs)
    return document


def check_pending_time(document: Document | None, known: Known | None) -> None:
    """V6: a document older than one already seen is a replay."""
    if document and known and known.pending_time is not None and document.pending_time < known.pending_time:
        raise Refusal("evidence_invalid", "V6 document_older_than_stored", alarm=True)


def check_evidence(group: Group, level: str, *, document: bool, unread: bool = False) -> None:
    """V10: the group's own level, and whether it demands the identity document; `unread` is one passed over (V5)."""
    if LEVELS.index(level) < LEVELS.index(group.level):
        raise Refusal("evidence_missing", f"V10 {level}_below_{group.level}")
    if group.demand_iid and unread:
        raise Refusal("upstream_busy", "V10 no_certificate_for_region", alarm=True)
    if group.demand_iid and not document:
        raise Refusal("evidence_missing", "V10 iid_demanded")


def check_kem(group: Group, kem: str) -> None:
    """V10: the group accepts this way of sealing."""
    if kem not in group.kems:
        raise Refusal("unsupported", "V10 kem")


def _unix(amz_date: str) -> float:
    """Give the Unix seconds of an ISO basic UTC date; one that no calendar has is out of any window."""
    try:
        return datetime.fromisoformat(amz_date).timestamp()
    except ValueError:
        return float("-inf")
