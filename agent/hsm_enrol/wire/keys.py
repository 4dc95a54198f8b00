"""Knows P-256 keys: as JWK with one spelling (E6), as PEM on disk, and their RFC 7638 thumbprints."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hsm_enrol.errors import WireError
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.strict import Fields, b64u_decode, b64u_encode, dump_json

COORDINATE = 32  # bytes
THUMBPRINT = r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"  # 32 bytes in base64url; E1: the last two bits are zero


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicJwk:
    """A P-256 public key as RFC 7517 writes it: exactly crv, kty, x, y; `x` and `y` are base64url of 32 bytes."""

    x: str
    y: str

    @classmethod
    def from_key(cls, key: ec.EllipticCurvePublicKey) -> PublicJwk:
        """Write a key as JWK. Raises WireError for another curve."""
        if not isinstance(key.curve, ec.SECP256R1):
            raise WireError("E6", "not P-256")
        numbers = key.public_numbers()
        return cls(
            x=b64u_encode(numbers.x.to_bytes(COORDINATE, "big")), y=b64u_encode(numbers.y.to_bytes(COORDINATE, "big"))
        )

    @classmethod
    def from_json(cls, value: Any) -> PublicJwk:
        """E6: read a JWK; other members, another curve, a wrong length or a point off the curve are refused."""
        fields = Fields(value, "jwk", "E6")
        fields.word("kty", "EC")
        fields.word("crv", "P-256")
        jwk = cls(x=fields.text("x", THUMBPRINT), y=fields.text("y", THUMBPRINT))
        fields.nothing_else()
        if cls.from_key(jwk.key()) != jwk:  # the library takes a coordinate beyond the prime for what is left of it
            raise WireError("E6", "jwk")
        return jwk

    def key(self) -> ec.EllipticCurvePublicKey:
        """Load the key; the library checks that the point is on the curve. Raises WireError."""
        x, y = b64u_decode(self.x, "jwk.x"), b64u_decode(self.y, "jwk.y")
        try:
            return ec.EllipticCurvePublicNumbers(
                int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()
            ).public_key()
        except ValueError:
            raise WireError("E6", "jwk") from None

    def as_json(self) -> dict[str, str]:
        """Give the JWK as a JSON object."""
        return {"crv": "P-256", "kty": "EC", "x": self.x, "y": self.y}

    @property
    def thumbprint(self) -> str:
        """Give the RFC 7638 thumbprint: SHA-256 over the required members, sorted, without blanks; base64url."""
        return _thumbprint(self.x, self.y)


@lru_cache(maxsize=256)
def _thumbprint(x: str, y: str) -> str:
    """Remembered: one decision names its asker half a dozen times."""
    return b64u_encode(hashlib.sha256(dump_json(PublicJwk(x=x, y=y).as_json())).digest())


def generate_key() -> ec.EllipticCurvePrivateKey:
    """Make a P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def private_to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Write a private key as PKCS#8 PEM without password: the file's mode protects it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def private_from_pem(data: bytes) -> ec.EllipticCurvePrivateKey:
    """Read what private_to_pem wrote. Raises WireError("E6") for anything but a P-256 private key."""
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise WireError("E6", "private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise WireError("E6", "private key")
    return key


def public_to_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """Write a public key as SubjectPublicKeyInfo PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_from_pem(data: bytes) -> ec.EllipticCurvePublicKey:
    """Read what public_to_pem wrote. Raises WireError("E6") for anything but a P-256 public key."""
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise WireError("E6", "public key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise WireError("E6", "public key")
    return key
