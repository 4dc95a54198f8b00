"""Knows the hash that ties AWS's proofs to our keys, nonce, request and audience."""

from __future__ import annotations

import hashlib

from hsm_enrol.wire.strict import b64u_encode


def lp(*parts: bytes) -> bytes:
    """E7: each part with its length before it, 4 bytes big-endian: no two lists of parts give the same bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def binding(*, aud: str, eat_nonce: str, jti: str, cnf_thumbprint: str, seal_thumbprint: str, sub: str) -> str:
    """Give `b` of docs/protocol.md: base64url(SHA-256(LP of label and the six texts as the assertion has them))."""
    texts = ("hsm-enrol/1 binding", aud, eat_nonce, jti, cnf_thumbprint, seal_thumbprint, sub)
    return b64u_encode(hashlib.sha256(lp(*(text.encode("ascii") for text in texts))).digest())
