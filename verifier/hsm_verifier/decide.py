"""Knows how to decide one request: the numbered checks V2 to V15, cheap and offline first, then one committed decision.

Everything that touches the world comes in with `World`; what was found goes out on the `Trail`, for the audit. A check
that fails raises Refusal. Before V8 has passed the asker is a stranger and hears only what strangers may (refusal.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsm_enrol.wire.answer import make_answer
from hsm_enrol.wire.strict import dump_json
from hsm_verifier.ledger import known as ledger_known
from hsm_verifier.ledger import sightings
from hsm_verifier.ledger.rows import Claim
from hsm_verifier.ledger.take import Held, Taken, confirm_have, take
from hsm_verifier.refusal import Refusal
from hsm_verifier.remembered import Remembered
from hsm_verifier.request_checks import (
    about,
    check_document,
    check_evidence,
    check_kem,
    check_pending_time,
    check_request,
    parse,
)
from hsm_verifier.vault import Bundles, Entry, VaultError
from hsm_verifier.world import Case, Judged, Trail, World

if TYPE_CHECKING:
    from hsm_enrol.wire.assertion import Assertion
    from hsm_verifier.inventory.facts import Facts
    from hsm_verifier.ledger.known import Known
    from hsm_verifier.policy import Group, Verdict

HOLD = (15.0, 45.0)  # V13: Retry-After is drawn from here, so that a held fleet does not come back at once


def decide(body: bytes, source: str, world: World, trail: Trail) -> bytes:
    """Give the signed answer to one assertion; it was committed before this returns. Raises Refusal, VaultError."""
    request = parse(body)
    trail.facts |= about(request)
    shown = check_request(request, world)
    document = check_document(request, shown, world)
    standing = world.clerk.read(
        lambda store: ledger_known.look_up(store, request.sub, request.cnf.thumbprint, request.have)
    )
    if standing.known is not None and standing.known.owner != request.cnf.thumbprint:
        trail.facts["served_to"] = standing.known.owner
    check_pending_time(document, standing.known)
    case = Case(
        request=request,
        source=source,
        shown=shown,
        document=document,
        known=standing.known,
        waits=standing.waits,
    )
    if (answer := answer_known(case, world, trail)) is not None:
        return answer
    level = prove(case, world, trail)
    facts = look(case, level, world)
    judged = judge(case, facts, level, world, trail)
    entry = bundle_of(judged.group.bundle_name, world.vault)
    return answer_claim(case, make_claim(case, facts, level, judged, entry), world, trail)


def answer_known(case: Case, world: World, trail: Trail) -> bytes | None:
    """V7, O3: what may be said to a known key without asking AWS: "nothing newer", or "still on hold".

    Nothing of a bundle that no group there gets any more, nor of a gate that the policy has switched off since.
    """
    request, known = case.request, case.known
    owner = request.cnf.thumbprint
    if known and known.owner == owner and request.have is not None and _groups(known.group, request, world):
        entry = world.vault.current(known.group)
        if entry and entry.serial == request.have and _has_it(known, request, world):
            trail.facts |= {"how": "current", "group": known.group, "serial": entry.serial}
            return _seal(request, entry.serial, world, bundle=None, trial=False)
    if case.waits and request.pin and any(one.release_gate for one in _groups(case.waits.group, request, world)):
        entry = world.vault.current(case.waits.group)
        gate = entry.gate if entry else None
        if gate and world.clerk.read(lambda store: ledger_known.gate_closed(store, gate, request.sub)):
            trail.proved = True  # this key passed V8 when it was first held
            raise Refusal("hold", "V13 held_again", retry_after=world.rng.uniform(*HOLD))
    return None


def _groups(bundle: str, request: Assertion, world: World) -> tuple[Group, ...]:
    """Give the groups by which the asker may get the bundle of that name."""
    return world.policy.handing_out(bundle, request.instance.account_id, request.instance.region)


def _has_it(known: Known, request: Assertion, world: World) -> bool:
    """O1: `have`, signed by the owner, confirms the slot; written only once. False when it was REVOKED."""
    have = request.have or 0
    return known.have_confirmed or world.clerk.write(lambda store: confirm_have(store, request.sub, known.owner, have))


def prove(case: Case, world: World, trail: Trail) -> str:
    """V8: AWS names the asker; then each instance id has its own limit at each level. Gives the level reached."""
    request = case.request
    if request.identity_role is not None:
        world.sts.ask(request)
        trail.proved = True
    level = "identity-role" if trail.proved else "iid" if case.document else "fields"
    # Anybody can ask with less where some group accepts it: that must not keep out whom AWS named.
    wait = world.asks.wait_for(f"{level} {request.sub}")
    if wait:
        raise Refusal("busy", "V8 asks_per_instance", retry_after=wait)
    trail.facts["level"] = level
    return level


def look(case: Case, level: str, world: World) -> Facts:
    """V9: AWS's API knows the instance, pending or running. Not visible is "not yet" for ten minutes."""
    request = case.request
    try:
        return world.inventory.look_up(request)
    except Refusal as refusal:
        if refusal.reason != "not_visible_yet" or level != "identity-role":
            raise
        unseen = world.clerk.write(lambda store: sightings.unseen_for(store, request.sub))
        if unseen > sightings.VISIBLE_WITHIN:
            raise Refusal("not_admitted", "V9 not_found") from None
        raise


def judge(case: Case, facts: Facts, level: str, world: World, trail: Trail) -> Judged:
    """V10 to V12: fields, source and windows; then the group's own level and kem."""
    request = case.request
    now = world.clock() if case.waits is None else case.waits.since

    def verdict_on(*, first_time: bool) -> Verdict:
        return world.policy.judge(request, facts, case.document, source=case.source, now=now, first_time=first_time)

    def is_granted(name: str) -> bool:
        which, owner = world.policy.group(name).grants, request.cnf.thumbprint
        return world.clerk.read(lambda store: ledger_known.grant_waits(store, request.sub, owner, which))

    verdict, by_grant = verdict_on(first_time=case.first_time), False
    if verdict.group is None and case.first_time:
        later = verdict_on(first_time=False)
        if later.group is not None and is_granted(later.group):
            verdict, by_grant = later, True
    trail.facts |= Remembered(
        instance=request.instance,
        seen=facts,
        document=case.document is not None,
        kem=request.seal.kem,
        first_time=case.first_time and not by_grant,
        judged_at=now,
    ).as_facts()
    words = tuple(str(item) for item in verdict.mismatches)
    if words:
        trail.facts["mismatches"] = list(words)
    if verdict.group is None:
        raise Refusal("not_admitted", "V10 no_group", mismatches=words)
    trail.facts["group"] = verdict.group
    group = world.policy.group(verdict.group)
    verified = case.document is not None
    check_evidence(group, level, document=verified, unread=request.iid is not None and not verified)
    if level != "identity-role":
        # The operator accepted evidence that does not bind the asker's key (accept_unbound_evidence).
        trail.proved = True
        trail.alarm = True
    check_kem(group, request.seal.kem)
    return Judged(group=group, by_grant=by_grant)


def bundle_of(name: str, bundles: Bundles) -> Entry:
    """V14, O7: the current bundle of that name, whatever an earlier try got."""
    entry = bundles.current(name)
    if entry is None:
        raise Refusal("upstream_busy", "V14 nothing_published", alarm=True, retry_after=60.0)
    return entry


def make_claim(case: Case, facts: Facts, level: str, judged: Judged, entry: Entry) -> Claim:
    """Gather what the ledger decides on (V13, V15)."""
    request, group = case.request, judged.group
    return Claim(
        instance_id=request.sub,
        owner=request.cnf.thumbprint,
        jwk=dump_json(request.cnf.as_json()).decode(),
        group=entry.group,
        serial=entry.serial,
        nonce=request.eat_nonce,
        level=level,
        first_time=case.first_time and not judged.by_grant,
        launch_time=facts.launch_time,
        pending_time=case.document.pending_time if case.document else None,
        have=request.have,
        lost_key=group.lost_key,
        grants=group.grants,
        gate=entry.gate if request.pin and group.release_gate else None,
    )


def answer_claim(case: Case, claim: Claim, world: World, trail: Trail) -> bytes:
    """V13 to V15: take the slot and seal in one transaction. Gives the answer after COMMIT."""
    trail.facts["serial"] = claim.serial
    # Read before the transaction: a slow store must not hold rows that others wait for.
    bundle = world.vault.read(claim.group, claim.serial)

    def make(state: str, trial: bool) -> bytes:  # noqa: FBT001  the ledger's two words
        return _seal(case.request, claim.serial, world, bundle=bundle if state == "bundle" else None, trial=trial)

    match world.clerk.write(lambda store: take(store, claim, make)):
        case Held(halted=halted, alarm=alarm):
            word = "V13 halted" if halted else "V13 hold"
            raise Refusal("hold", word, retry_after=world.rng.uniform(*HOLD), alarm=alarm)
        case Taken(answer=answer, how=how, repeated=repeated, trial=trial, alarm=alarm):
            trail.alarm |= alarm
            trail.facts |= {"how": how, "repeated": repeated or None, "trial": trial or None}
            return answer


def _seal(request: Assertion, serial: int, world: World, *, bundle: bytes | None, trial: bool) -> bytes:
    """V14: seal the bundle to the run's key, sign with a key the asker pins; without one it is "nothing newer"."""
    key = world.keys.choose(request.trust)
    if key is None:
        raise Refusal("unsupported", "V4 trust")
    return make_answer(request, serial=serial, iat=int(world.clock()), bundle=bundle, trial=trial, key=key)


def translate(error: VaultError) -> Refusal:
    """Give what a bundle that does not open means to the asker: later, while the operator is alarmed."""
    return Refusal("upstream_busy", f"V14 {error}", alarm=True, retry_after=error.again_in)
