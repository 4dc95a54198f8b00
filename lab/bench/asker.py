"""Knows what one instance of a fleet sends: real keys, real proofs, real signatures; only the tools are left out."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from hsm_enrol.host.imds import Credentials
from hsm_enrol.host.sigv4 import sign_get_caller_identity
from hsm_enrol.wire.answer import Answer, open_answer, verify_answer
from hsm_enrol.wire.assertion import Assertion, Instance, sign_assertion
from hsm_enrol.wire.bundle import Bundle
from hsm_enrol.wire.keys import PublicJwk, generate_key
from hsm_enrol.wire.receipt import Receipt, sign_receipt
from hsm_enrol.wire.seal import SealPrivateKey
from hsm_enrol.wire.strict import b64u_encode
from lab.machine import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an instance reads from IMDS before it asks."""

    instance_id: str
    instance: Instance
    credentials: Credentials
    iid: str | None = field(repr=False)

    @classmethod
    def of(cls, machine: Machine) -> Facts:
        """Take a laboratory machine's."""
        own = machine.credentials
        return cls(
            instance_id=machine.instance_id,
            instance=Instance(
                instance_type=machine.instance_type,
                reservation_id=machine.reservation_id,
                local_hostname=machine.local_hostname,
                account_id=machine.account_id,
                region=machine.region,
                image_id=machine.image_id,
                local_ipv4=machine.local_ipv4,
                public_hostname=machine.public_hostname,
                role=machine.role,
            ),
            credentials=Credentials(
                access_key_id=own.access_key_id,
                secret_access_key=own.secret_access_key,
                session_token=own.session_token,
                expiration=own.expiration,
            ),
            iid="".join(machine.rsa2048.split()) or None,
        )

    def to_json(self) -> str:
        """Write them for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """Read what to_json wrote."""
        found: dict[str, Any] = json.loads(text)
        return cls(
            instance_id=found["instance_id"],
            instance=Instance(**found["instance"]),
            credentials=Credentials(**found["credentials"]),
            iid=found["iid"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """What an instance is told of its verifying party."""

    audience: str
    answer_key: ec.EllipticCurvePublicKey


@dataclass(slots=True, kw_only=True)
class Asker:
    """One instance. `seal` may be shared by many to save their making; the owner key is the ledger's name for it."""

    facts: Facts
    party: Party
    seal: SealPrivateKey
    key: ec.EllipticCurvePrivateKey = field(default_factory=generate_key, repr=False)
    trust: str = ""

    def __post_init__(self) -> None:
        """Name the answer key once."""
        self.trust = self.trust or PublicJwk.from_key(self.party.answer_key).thumbprint

    def request(self, nonce: str, *, amz_date: str, iat: int, pin: bool = True, have: int | None = None) -> Assertion:
        """Make an assertion for this nonce, with AWS's proof tied to it."""
        bare = Assertion(
            aud=self.party.audience,
            iat=iat,
            jti=b64u_encode(secrets.token_bytes(16)),
            eat_nonce=nonce,
            sub=self.facts.instance_id,
            cnf=PublicJwk.from_key(self.key.public_key()),
            seal=self.seal.public,
            trust=(self.trust,),
            instance=self.facts.instance,
            reason="boot",
            have=have,
            pin=pin,
            identity_role=None,
            iid=self.facts.iid,
        )
        proof = sign_get_caller_identity(
            self.facts.credentials,
            region=self.facts.instance.region,
            endpoint="regional",
            suffix=None,
            amz_date=amz_date,
            binding=bare.binding(),
        )
        return replace(bare, identity_role=proof)

    def signed(self, request: Assertion) -> bytes:
        """Sign with the owner key."""
        return sign_assertion(request, self.key)

    def read(self, compact: bytes) -> Answer:
        """Verify an answer's signature."""
        return verify_answer(compact, [self.party.answer_key])

    def open(self, answer: Answer, request: Assertion) -> Bundle | None:
        """Open it; None when nothing is newer."""
        return open_answer(answer, request, self.seal)

    def receipt(self, request: Assertion, serial: int, result: str = "installed", pin: str = "accepted") -> bytes:
        """Tell how it went."""
        told = Receipt(
            aud=request.aud,
            sub=request.sub,
            jti=request.jti,
            nonce=request.eat_nonce,
            serial=serial,
            result=result,
            code=None,
            pin=pin,
        )
        return sign_receipt(told, self.key)
