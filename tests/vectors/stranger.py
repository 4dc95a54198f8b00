"""A second implementation of what docs/protocol.md says, by somebody who has read nothing but that document.

It imports nothing of the project. What both implementations make of the vectors is compared: where they differ, the
document is wrong or incomplete.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, utils, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ENC = {"mlkem768-x25519": 1120, "p256": 65}
KEM_ID = {"mlkem768-x25519": 0x647A, "p256": 0x0010}
KDF_ID, AEAD_ID = 0x0001, 0x0002
XWING = bytes.fromhex("5c2e2f2f5e5c")  # the combiner's label


def b64u(data: bytes) -> str:
    """E1."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64u(text: str) -> bytes:
    """E1, of a text that is known to be good."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def lp(*parts: str | bytes) -> bytes:
    """E7."""
    raw = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join(struct.pack(">I", len(part)) + part for part in raw)


def jwk_thumbprint(jwk: Mapping[str, str]) -> str:
    """E6."""
    text = '{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'.format(**jwk)
    return b64u(hashlib.sha256(text.encode()).digest())


def seal_thumbprint(kem: str, key: bytes) -> str:
    """Name a seal key ("Seal")."""
    return b64u(hashlib.sha256(lp("hsm-enrol/1 seal key", kem, key)).digest())


def verify(compact: str, header: str, jwk: Mapping[str, str]) -> bytes:
    """E2, E3: give the payload, or fail."""
    first, second, third = compact.split(".")
    if first != b64u(header.encode()):
        raise ValueError("header")
    signature = unb64u(third)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    x, y = (int.from_bytes(unb64u(jwk[name]), "big") for name in ("x", "y"))
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    key.verify(utils.encode_dss_signature(r, s), f"{first}.{second}".encode(), ec.ECDSA(hashes.SHA256()))
    return unb64u(second)


def binding(assertion: Mapping[str, Any]) -> str:
    """Tie AWS's proof to a request ("Binding")."""
    seal = assertion["seal"]
    parts = (
        "hsm-enrol/1 binding",
        assertion["aud"],
        assertion["eat_nonce"],
        assertion["jti"],
        jwk_thumbprint(assertion["cnf"]["jwk"]),
        seal_thumbprint(seal["kem"], unb64u(seal["key"])),
        assertion["sub"],
    )
    return b64u(hashlib.sha256(lp(*parts)).digest())


def string_to_sign(assertion: Mapping[str, Any], host: str) -> str:
    """Rebuild what the instance identity role signed ("GetCallerIdentity")."""
    role = assertion["submods"]["identity-role"]
    body = "Action=GetCallerIdentity&Version=2011-06-15"
    canonical = f"""POST
/

content-type:application/x-www-form-urlencoded; charset=utf-8
host:{host}
x-amz-date:{role["amz-date"]}
x-amz-security-token:{role["security-token"]}
x-hsm-enrol-binding:{binding(assertion)}

content-type;host;x-amz-date;x-amz-security-token;x-hsm-enrol-binding
{hashlib.sha256(body.encode()).hexdigest()}"""
    scope = f"{role['amz-date'][:8]}/{role['region']}/sts/aws4_request"
    return f"AWS4-HMAC-SHA256\n{role['amz-date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"


def aws_signature(secret: str, to_sign: str) -> str:
    """Sign as Signature Version 4 does."""
    day, region, service, end = to_sign.split("\n")[2].split("/")
    key = b"AWS4" + secret.encode()
    for part in (day, region, service, end):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()


def answer_info(answer: Mapping[str, Any]) -> bytes:
    """Give HPKE's info ("Seal")."""
    names = ("aud", "jti", "nonce", "sub")
    return lp("hsm-enrol/1 answer", *(answer[name] for name in names), str(answer["serial"]), answer["seal_thumbprint"])


def open_sealed(kem: str, secret: bytes, sealed: bytes, info: bytes) -> bytes:
    """Open what was sealed: RFC 9180 section 5 by hand, base mode, the key schedule's first and only message."""
    enc, ciphertext = sealed[: ENC[kem]], sealed[ENC[kem] :]
    shared = _xwing(secret, enc) if kem == "mlkem768-x25519" else _dhkem(secret, enc)
    suite = b"HPKE" + struct.pack(">HHH", KEM_ID[kem], KDF_ID, AEAD_ID)
    context = b"\0" + _extract(suite, b"", "psk_id_hash", b"") + _extract(suite, b"", "info_hash", info)
    secret_ = _extract(suite, shared, "secret", b"")
    key = _expand(suite, secret_, "key", context, 32)
    nonce = _expand(suite, secret_, "base_nonce", context, 12)
    return AESGCM(key).decrypt(nonce, ciphertext, b"")


def _xwing(seed: bytes, enc: bytes) -> bytes:
    """X-Wing: ML-KEM-768 and X25519, combined by SHA3-256."""
    wide = hashlib.shake_256(seed).digest(96)
    first = mlkem.MLKEM768PrivateKey.from_seed_bytes(wide[:64])
    second = x25519.X25519PrivateKey.from_private_bytes(wide[64:])
    ours = second.public_key().public_bytes_raw()
    post_quantum = first.decapsulate(enc[:1088])
    classic = second.exchange(x25519.X25519PublicKey.from_public_bytes(enc[1088:]))
    return hashlib.sha3_256(post_quantum + classic + enc[1088:] + ours + XWING).digest()


def _dhkem(scalar: bytes, enc: bytes) -> bytes:
    """DHKEM(P-256, HKDF-SHA256), RFC 9180 section 4.1."""
    key = ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())
    numbers = key.public_key().public_numbers()
    ours = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    shared = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), enc))
    suite = b"KEM" + struct.pack(">H", KEM_ID["p256"])
    return _expand(suite, _extract(suite, b"", "eae_prk", shared), "shared_secret", enc + ours, 32)


def _extract(suite: bytes, salt: bytes, label: str, ikm: bytes) -> bytes:
    return hmac.new(salt or bytes(32), b"HPKE-v1" + suite + label.encode() + ikm, hashlib.sha256).digest()


def _expand(suite: bytes, key: bytes, label: str, info: bytes, length: int) -> bytes:
    whole = struct.pack(">H", length) + b"HPKE-v1" + suite + label.encode() + info
    return hmac.new(key, whole + b"\x01", hashlib.sha256).digest()[:length]
