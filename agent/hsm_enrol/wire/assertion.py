"""Knows what the asserting party says about itself, and how to read that from a stranger (E5, V2, V3)."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from hsm_enrol.errors import WireError
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire import jws
from hsm_enrol.wire.binding import binding
from hsm_enrol.wire.claims import (
    ACCESS_KEY_ID,
    ACCOUNT_ID,
    AMZ_DATE,
    AUDIENCE,
    CMS_TEXT,
    HOST_NAME,
    IMAGE_ID,
    INSTANCE_ID,
    INSTANCE_TYPE,
    IPV4,
    JTI,
    NONCE,
    REASONS,
    REGION,
    RESERVATION_ID,
    ROLE,
    SECURITY_TOKEN,
    SIGNATURE,
    IdentityRole,
    Instance,
)
from hsm_enrol.wire.keys import THUMBPRINT, PublicJwk
from hsm_enrol.wire.seal import KEMS, PUBLIC, SealPublicKey
from hsm_enrol.wire.strict import Fields, b64u_decode, b64u_encode, dump_json, parse_json

__all__ = [
    "ACCESS_KEY_ID",
    "ACCOUNT_ID",
    "AMZ_DATE",
    "AUDIENCE",
    "CMS_TEXT",
    "HOST_NAME",
    "IMAGE_ID",
    "INSTANCE_ID",
    "INSTANCE_TYPE",
    "IPV4",
    "JTI",
    "MAX_ASSERTION",
    "NONCE",
    "PROFILE",
    "REASONS",
    "REGION",
    "RESERVATION_ID",
    "ROLE",
    "SECURITY_TOKEN",
    "SIGNATURE",
    "Assertion",
    "IdentityRole",
    "Instance",
    "sign_assertion",
    "verify_assertion",
]

PROFILE = "tag:hsm-enrol,2026:assertion/1"
MAX_ASSERTION = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """One request, as docs/protocol.md lists its members. `iid` is IMDS's `rsa2048` text without line breaks."""

    aud: str
    iat: int
    jti: str
    eat_nonce: str
    sub: str
    cnf: PublicJwk
    seal: SealPublicKey
    trust: tuple[str, ...]
    instance: Instance
    reason: str
    have: int | None
    pin: bool
    identity_role: IdentityRole | None
    iid: str | None = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """Give the payload as a JSON object."""
        submods: dict[str, Any] = {}
        if self.identity_role is not None:
            submods["identity-role"] = self.identity_role.as_json()
        if self.iid is not None:
            submods["iid"] = {"rsa2048": self.iid}
        found: dict[str, Any] = {
            "eat_profile": PROFILE,
            "aud": self.aud,
            "iat": self.iat,
            "jti": self.jti,
            "eat_nonce": self.eat_nonce,
            "sub": self.sub,
            "cnf": {"jwk": self.cnf.as_json()},
            "seal": {"kem": self.seal.kem, "key": b64u_encode(self.seal.raw)},
            "trust": list(self.trust),
            "instance": self.instance.as_json(),
            "reason": self.reason,
            "pin": self.pin,
            "submods": submods,
        }
        if self.have is not None:
            found["have"] = self.have
        return found

    def to_payload(self) -> bytes:
        """Give the payload's bytes."""
        return dump_json(self.as_json())

    def masked(self) -> dict[str, Any]:
        """Give the payload for people: token, signature and document are masked."""
        found = self.as_json()
        for evidence in found["submods"].values():
            for name in {"security-token", "signature", "rsa2048"} & set(evidence):
                evidence[name] = f"({len(evidence[name])} characters, masked)"
        return found

    def binding(self) -> str:
        """Give `b`, which AWS's proof must carry for this very request."""
        return binding(
            aud=self.aud,
            eat_nonce=self.eat_nonce,
            jti=self.jti,
            cnf_thumbprint=self.cnf.thumbprint,
            seal_thumbprint=self.seal.thumbprint,
            sub=self.sub,
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Assertion:
        """V2: read a payload by the closed schema. Raises WireError.

        The seal key is only measured here; whether it works is V3, after the signature.
        """
        fields = Fields(parse_json(payload), "assertion", "V2")
        fields.word("eat_profile", PROFILE)
        cnf, seal, submods = fields.fields("cnf"), fields.fields("seal"), fields.fields("submods")
        jwk = PublicJwk.from_json(cnf.take("jwk"))
        cnf.nothing_else()
        kem, raw = seal.word("kem", *KEMS), b64u_decode(seal.text("key", r"[A-Za-z0-9_-]{87,1622}"), "seal.key")
        if len(raw) != PUBLIC[kem]:
            raise seal.fault("key")
        seal.nothing_else()
        role = IdentityRole.from_fields(submods.fields("identity-role")) if submods.has("identity-role") else None
        iid = _iid(submods.fields("iid")) if submods.has("iid") else None
        submods.nothing_else()
        found = cls(
            aud=fields.text("aud", AUDIENCE),
            iat=fields.integer("iat"),
            jti=fields.text("jti", JTI),
            eat_nonce=fields.text("eat_nonce", NONCE),
            sub=fields.text("sub", INSTANCE_ID),
            cnf=jwk,
            seal=SealPublicKey(kem=kem, raw=raw),
            trust=fields.texts("trust", THUMBPRINT, 1, 4),
            instance=Instance.from_fields(fields.fields("instance")),
            reason=fields.word("reason", *REASONS),
            have=fields.integer("have", least=1) if fields.has("have") else None,
            pin=fields.boolean("pin"),
            identity_role=role,
            iid=iid,
        )
        fields.nothing_else()
        return found


def _iid(fields: Fields) -> str:
    text = fields.text("rsa2048", CMS_TEXT)
    fields.nothing_else()
    return text


def sign_assertion(assertion: Assertion, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Sign with the owner key; it must be the one in `cnf`. What we sign, we could read: WireError V2 otherwise."""
    if PublicJwk.from_key(key.public_key()) != assertion.cnf:
        raise WireError("V3", "cnf is another key")
    payload = assertion.to_payload()
    Assertion.from_payload(payload)
    return jws.sign(jws.ASSERTION_HEADER, payload, key)


def verify_assertion(compact: bytes) -> Assertion:
    """V2, V3: read an assertion once (E5: its key is inside), check its signature by that key, try its seal key.

    What is given back was read from the bytes that were verified. Raises WireError.
    """
    if len(compact) > MAX_ASSERTION:
        raise WireError("V1", "assertion is too large")
    signed, payload, signature = jws.split(compact, jws.ASSERTION_HEADER)
    assertion = Assertion.from_payload(payload)
    jws.check(signed, signature, assertion.cnf.key())
    SealPublicKey.load(assertion.seal.kem, assertion.seal.raw)
    return assertion
