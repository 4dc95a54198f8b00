"""Knows how to sign bytes and how to get back exactly the bytes that were signed (E2, E3; RFC 7515, ES256)."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from hsm_enrol.errors import WireError
from hsm_enrol.wire.strict import b64u_decode, b64u_encode

ASSERTION_HEADER = b'{"alg":"ES256","typ":"hsm-enrol-assertion+jwt"}'
RECEIPT_HEADER = b'{"alg":"ES256","typ":"hsm-enrol-receipt+jwt"}'
HALF = 32  # bytes of r, and of s (RFC 7518 section 3.4)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # n of P-256 (SP 800-186)
_PARTS = 3


def answer_header(kid: str) -> bytes:
    """Give the header of an answer signed by the key whose RFC 7638 thumbprint is `kid`."""
    return b'{"alg":"ES256","kid":"' + kid.encode("ascii") + b'","typ":"hsm-enrol-answer+jwt"}'


def sign(header: bytes, payload: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Sign; give the compact serialisation, ASCII."""
    signed = f"{b64u_encode(header)}.{b64u_encode(payload)}".encode("ascii")
    r, s = utils.decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
    return signed + b"." + b64u_encode(r.to_bytes(HALF, "big") + s.to_bytes(HALF, "big")).encode("ascii")


def split(compact: bytes, header: bytes) -> tuple[bytes, bytes, bytes]:
    """E2: take a compact JWS apart into what was signed, payload and signature; nothing is verified yet.

    The header is compared as bytes with the one allowed value; it is never parsed.
    """
    parts = compact.split(b".")
    if len(parts) != _PARTS:
        raise WireError("E2", "not three parts")
    if parts[0] != b64u_encode(header).encode("ascii"):
        raise WireError("E2", "header")
    try:
        payload, signature = parts[1].decode("ascii"), parts[2].decode("ascii")
    except UnicodeDecodeError:
        raise WireError("E1", "not ASCII") from None
    return parts[0] + b"." + parts[1], b64u_decode(payload, "payload"), b64u_decode(signature, "signature")


def verify(compact: bytes, header: bytes, key: ec.EllipticCurvePublicKey) -> bytes:
    """Verify and give the payload bytes that were signed. Raises WireError E1, E2 or E3."""
    signed, payload, signature = split(compact, header)
    check(signed, signature, key)
    return payload


def check(signed: bytes, signature: bytes, key: ec.EllipticCurvePublicKey) -> None:
    """E3: the signature is 64 bytes, r and s each in 1..n-1, and fits. Low s is not demanded."""
    r, s = int.from_bytes(signature[:HALF], "big"), int.from_bytes(signature[HALF:], "big")
    if len(signature) != 2 * HALF or not 1 <= r < ORDER or not 1 <= s < ORDER:
        raise WireError("E3", "signature")
    try:
        key.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise WireError("E3", "signature") from None
