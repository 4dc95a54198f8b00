"""Knows how an insider would try: all fields of another instance, and own credentials."""

from __future__ import annotations

from dataclasses import dataclass, replace

import requests

from hsm_enrol.host.imds import Credentials
from hsm_enrol.host.sigv4 import sign_get_caller_identity
from hsm_enrol.wire.assertion import Assertion, sign_assertion
from hsm_enrol.wire.keys import PublicJwk, generate_key, public_from_pem
from hsm_enrol.wire.messages import ASSERTION_TYPE, Challenge, Problem
from hsm_enrol.wire.seal import SealPrivateKey
from lab.asking import now, request_of
from lab.machine import Machine
from lab.party import Party


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What the attacker hears, and what the operator reads in the audit."""

    status: int
    reason: str
    decision: str
    detail: str


def replay_fields(victim: Machine, attacker: Machine, party: Party) -> Refused:
    """Claim to be `victim` with the live credentials of `attacker`; give what became of it."""
    session = requests.Session()
    session.trust_env = False
    session.verify = str(party.folder / "verifier-ca.pem")
    told = Challenge.from_bytes(session.get(f"{party.url}/v1/challenge", timeout=10).content)
    key = generate_key()
    pinned = PublicJwk.from_key(public_from_pem((party.folder / "answer-key.pem").read_bytes()))
    claimed = replace(
        request_of(victim),
        aud=party.audience,
        eat_nonce=told.nonce,
        cnf=PublicJwk.from_key(key.public_key()),
        seal=SealPrivateKey.generate("mlkem768-x25519").public,
        trust=(pinned.thumbprint,),
    )
    body = sign_assertion(_with_own_proof(claimed, attacker), key)
    reply = session.post(f"{party.url}/v1/enrolments", data=body, headers={"content-type": ASSERTION_TYPE}, timeout=20)
    problem = Problem.from_bytes(reply.content)
    lines = [one for one in party.audit() if one.get("decision") == problem.decision]
    return Refused(
        status=reply.status_code,
        reason=problem.reason,
        decision=problem.decision or "",
        detail=str(lines[-1]["detail"]) if lines else "",
    )


def _with_own_proof(claimed: Assertion, attacker: Machine) -> Assertion:
    own = attacker.credentials
    proof = sign_get_caller_identity(
        Credentials(
            access_key_id=own.access_key_id,
            secret_access_key=own.secret_access_key,
            session_token=own.session_token,
            expiration=own.expiration,
        ),
        region=claimed.instance.region,
        endpoint="regional",
        suffix=None,
        amz_date=now(),
        binding=claimed.binding(),
    )
    return replace(claimed, identity_role=proof)
