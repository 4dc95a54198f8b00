"""Knows how to make challenges without remembering them: a nonce carries its own time under a MAC.

Any verifier with the same key and audience accepts it, so several verifiers behind one name need no shared memory for
challenges. A nonce may be used again within its life: it proves freshness, the ledger proves one-time use.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import struct

from hsm_enrol.errors import WireError
from hsm_enrol.wire.strict import b64u_decode, b64u_encode
from hsm_verifier.refusal import Refusal

LIFE = 300.0  # seconds a nonce is accepted after it was made
AHEAD = 120.0  # seconds another verifier's clock may be ahead of ours
_SHAPE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_PLAIN = 16  # 8 bytes of milliseconds, 8 random
_LABEL = b"hsm-enrol/1 nonce\x00"


class Nonces:
    """Makes and checks nonces for one audience with one key of 32 bytes (LG3)."""

    def __init__(self, key: bytes, audience: str) -> None:
        """Derive a key of its own for this use, so that the file's key never MACs anything else's bytes."""
        self._key = hmac.digest(key, _LABEL + audience.encode(), hashlib.sha256)

    def make(self, now: float) -> str:
        """Give a fresh nonce of 43 characters; `now` is Unix seconds."""
        plain = struct.pack(">Q", int(now * 1000)) + os.urandom(8)
        return b64u_encode(plain + self._mac(plain))

    def check(self, nonce: str, now: float) -> None:
        """V4: refuse a nonce that is not ours (`malformed` would teach nothing: it is stale) or out of its time."""
        if not _SHAPE.fullmatch(nonce):
            raise Refusal("nonce_stale", "V4 nonce_not_ours")
        try:
            raw = b64u_decode(nonce, "eat_nonce")
        except WireError:
            raise Refusal("nonce_stale", "V4 nonce_not_ours") from None
        plain, mac = raw[:_PLAIN], raw[_PLAIN:]
        if not hmac.compare_digest(mac, self._mac(plain)):
            raise Refusal("nonce_stale", "V4 nonce_not_ours")
        age = now - struct.unpack(">Q", plain[:8])[0] / 1000
        if not -AHEAD <= age <= LIFE:
            raise Refusal("nonce_stale", "V4 nonce_out_of_time")

    def _mac(self, plain: bytes) -> bytes:
        return hmac.digest(self._key, plain, hashlib.sha256)[:16]
