"""Knows what the asserting party says about itself, and how to read that from a stranger (E5, V2, V3)."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from hsm_enrol.errors import WireError
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire import jws
from hsm_enrol.wire.binding import binding
from hsm_enrol.wire.keys import THUMBPRINT, PublicJwk
from hsm_enrol.wire.seal import KEMS, PUBLIC, SealPublicKey
from hsm_enrol.wire.strict import Fields, b64u_decode, b64u_encode, dump_json, parse_json

PROFILE = "tag:hsm-enrol,2026:assertion/1"
MAX_ASSERTION = 32 * 1024

# Grammars, matched wholly and in ASCII. Host names as RFC 1123 has them; the others as AWS's documentation writes them.
AUDIENCE = r"[A-Za-z0-9._:/-]{1,128}"
NONCE = r"[A-Za-z0-9_-]{22,88}"
JTI = r"[A-Za-z0-9_-]{21}[AQgw]"  # 16 random bytes in base64url; E1: the last four bits are zero
INSTANCE_ID = r"i-[0-9a-f]{8}([0-9a-f]{9})?"
INSTANCE_TYPE = r"[a-z][a-z0-9-]{0,30}\.[a-z0-9-]{1,30}"
RESERVATION_ID = r"r-[0-9a-f]{8}([0-9a-f]{9})?"
IMAGE_ID = r"ami-[0-9a-f]{8}([0-9a-f]{9})?"
ACCOUNT_ID = r"[0-9]{12}"
REGION = r"[a-z]{2,5}(-[a-z]{2,12}){1,2}-[0-9]{1,2}"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST_NAME = rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*"
ROLE = r"[A-Za-z0-9_+=,.@-]{1,64}"
_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IPV4 = rf"{_OCTET}(\.{_OCTET}){{3}}"
ACCESS_KEY_ID = r"ASIA[A-Z0-9]{12,124}"
SECURITY_TOKEN = r"[A-Za-z0-9+/=_-]{1,12288}"  # noqa: S105  a grammar
AMZ_DATE = r"[0-9]{8}T[0-9]{6}Z"
SIGNATURE = r"[0-9a-f]{64}"
CMS_TEXT = r"(?=.{16,8192}\Z)(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?"
REASONS = ("boot", "cloud-init", "operator", "refresh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """IMDS's own facts; what IMDS answers with 404 is None here and absent on the wire.

    `local_ipv4` is one of those: an instance in an IPv6-only subnet has none (EC2 guide, instance metadata categories).
    """

    instance_type: str
    reservation_id: str
    local_hostname: str
    account_id: str
    region: str
    image_id: str
    local_ipv4: str | None
    public_hostname: str | None
    role: str | None

    def as_json(self) -> dict[str, str]:
        """Give the members under IMDS's names."""
        found = {
            "instance-type": self.instance_type,
            "reservation-id": self.reservation_id,
            "local-hostname": self.local_hostname,
            "account-id": self.account_id,
            "region": self.region,
            "image-id": self.image_id,
            "local-ipv4": self.local_ipv4,
            "public-hostname": self.public_hostname,
            "role": self.role,
        }
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def from_fields(cls, fields: Fields) -> Instance:
        """Read the members; each has its grammar."""
        found = cls(
            instance_type=fields.text("instance-type", INSTANCE_TYPE),
            reservation_id=fields.text("reservation-id", RESERVATION_ID),
            local_hostname=fields.text("local-hostname", HOST_NAME),
            account_id=fields.text("account-id", ACCOUNT_ID),
            region=fields.text("region", REGION),
            image_id=fields.text("image-id", IMAGE_ID),
            local_ipv4=fields.optional_text("local-ipv4", IPV4),
            public_hostname=fields.optional_text("public-hostname", HOST_NAME),
            role=fields.optional_text("role", ROLE),
        )
        fields.nothing_else()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRole:
    """A GetCallerIdentity request, signed with the instance identity role, less all that the verifier rebuilds."""

    region: str
    endpoint: str
    access_key_id: str
    security_token: str = field(repr=False)
    amz_date: str
    signature: str = field(repr=False)

    def as_json(self) -> dict[str, str]:
        """Give the six members."""
        return {
            "region": self.region,
            "endpoint": self.endpoint,
            "access-key-id": self.access_key_id,
            "security-token": self.security_token,
            "amz-date": self.amz_date,
            "signature": self.signature,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> IdentityRole:
        """Read exactly the six members."""
        found = cls(
            region=fields.text("region", REGION),
            endpoint=fields.word("endpoint", "regional", "fips"),
            access_key_id=fields.text("access-key-id", ACCESS_KEY_ID),
            security_token=fields.text("security-token", SECURITY_TOKEN),
            amz_date=fields.text("amz-date", AMZ_DATE),
            signature=fields.text("signature", SIGNATURE),
        )
        fields.nothing_else()
        return found


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
