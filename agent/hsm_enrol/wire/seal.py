"""Knows how to close an answer so that one asker can open it: HPKE base mode, post-quantum hybrid or P-256.

RFC 9180 and draft-ietf-hpke-pq by way of cryptography's HPKE; the hybrid KEM is X-Wing (ML-KEM-768 with X25519). The
library's hybrid keys have no serialisation of their own, so the two halves are split and joined here.
"""

from __future__ import annotations

import functools
import hashlib
import secrets
from contextlib import suppress
from dataclasses import field

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hsm_enrol.errors import SealError, WireError
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.binding import lp
from hsm_enrol.wire.strict import b64u_encode

HYBRID = "mlkem768-x25519"
P256 = "p256"
KEMS = (HYBRID, P256)

MLKEM_KEY = 1184  # bytes of an ML-KEM-768 encapsulation key (FIPS 203, table 3)
X25519_KEY = 32
P256_KEY = 65  # 04, x, y (SEC 1 section 2.3.3)
SEED = 32  # X-Wing's private key; a P-256 scalar has the same length
PUBLIC = {HYBRID: MLKEM_KEY + X25519_KEY, P256: P256_KEY}

_PublicKey = hpke.MLKEM768X25519PublicKey | ec.EllipticCurvePublicKey
_PrivateKey = hpke.MLKEM768X25519PrivateKey | ec.EllipticCurvePrivateKey


def _suite(kem: str) -> hpke.Suite:
    return hpke.Suite(
        hpke.KEM.MLKEM768_X25519 if kem == HYBRID else hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM
    )


def kem_available(kem: str) -> bool:
    """Tell whether this machine's cryptography can do `kem`; the agent never falls back to another by itself."""
    try:
        SealPrivateKey.generate(kem)
    except UnsupportedAlgorithm:
        return False
    return True


def seal_thumbprint(kem: str, raw: bytes) -> str:
    """Give the name of a seal key: base64url(SHA-256(LP("hsm-enrol/1 seal key") LP(kem) LP(key bytes)))."""
    return b64u_encode(hashlib.sha256(lp(b"hsm-enrol/1 seal key", kem.encode("ascii"), raw)).digest())


def answer_info(*, aud: str, jti: str, nonce: str, sub: str, serial: int, thumbprint: str) -> bytes:
    """Give HPKE's `info` for an answer: whose, to which request, with which serial, for which key."""
    texts = ("hsm-enrol/1 answer", aud, jti, nonce, sub, str(serial), thumbprint)
    return lp(*(text.encode("ascii") for text in texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class SealPublicKey:
    """A key to seal to: `kem` is one of KEMS, `raw` the bytes of the protocol's table."""

    kem: str
    raw: bytes

    @classmethod
    def load(cls, kem: str, raw: bytes) -> SealPublicKey:
        """V3: take a key from outside; exact length, re-encoded and compared, and a test agreement must work.

        The test is what refuses low-order X25519 points: they load, and fail only when used. The other keys have no
        such points: P-256 has prime order, and an ML-KEM key that loads has passed FIPS 203's check.
        """
        if kem not in KEMS or len(raw) != PUBLIC[kem]:
            raise WireError("V3", "seal key")
        key = cls(kem=kem, raw=raw)
        try:
            loaded = key._key()
            if not isinstance(loaded, ec.EllipticCurvePublicKey):
                _probe().exchange(x25519.X25519PublicKey.from_public_bytes(raw[MLKEM_KEY:]))
        except ValueError:
            raise WireError("V3", "seal key") from None
        except UnsupportedAlgorithm:
            raise WireError("V3", "seal.kem") from None  # no fault of the key: this machine cannot do it
        return key

    @property
    def thumbprint(self) -> str:
        """Give the key's name."""
        return seal_thumbprint(self.kem, self.raw)

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        """Seal to this key, empty aad; gives enc || ct."""
        return _suite(self.kem).encrypt(plaintext, self._key(), info)

    def _key(self) -> _PublicKey:
        if self.kem == P256:
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self.raw)
            if key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) != self.raw:
                raise ValueError("another spelling")
            return key
        first = mlkem.MLKEM768PublicKey.from_public_bytes(self.raw[:MLKEM_KEY])
        second = x25519.X25519PublicKey.from_public_bytes(self.raw[MLKEM_KEY:])
        if first.public_bytes_raw() + second.public_bytes_raw() != self.raw:
            raise ValueError("another spelling")
        return hpke.MLKEM768X25519PublicKey(first, second)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealPrivateKey:
    """The asker's half. `secret` is X-Wing's 32-byte seed or the P-256 scalar; it exists for one run."""

    kem: str
    secret: bytes = field(repr=False)
    public: SealPublicKey

    @classmethod
    def generate(cls, kem: str) -> SealPrivateKey:
        """Make a key for one run."""
        if kem == P256:
            scalar = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
            return cls.from_bytes(kem, scalar.to_bytes(SEED, "big"))
        return cls.from_bytes(kem, secrets.token_bytes(SEED))

    @classmethod
    def from_bytes(cls, kem: str, secret: bytes) -> SealPrivateKey:
        """Read what to_bytes wrote. Raises SealError."""
        if kem not in KEMS or len(secret) != SEED:
            raise SealError
        with suppress(ValueError):
            return cls(kem=kem, secret=secret, public=SealPublicKey(kem=kem, raw=_public_bytes(kem, secret)))
        raise SealError

    def to_bytes(self) -> bytes:
        """Give the 32 bytes to keep: they are all there is to the key."""
        return self.secret

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """A4: open enc || ct. Every failure is one SealError without cause or context: how it failed is nobody's."""
        with suppress(InvalidTag, ValueError):
            return _suite(self.kem).decrypt(sealed, self._key(), info)
        raise SealError

    def _key(self) -> _PrivateKey:
        if self.kem == P256:
            return ec.derive_private_key(int.from_bytes(self.secret, "big"), ec.SECP256R1())
        return hpke.MLKEM768X25519PrivateKey(*_expand(self.secret))


@functools.cache
def _probe() -> x25519.X25519PrivateKey:
    """Give a key that nothing is ever sealed with: with any key of its own, a low-order point agrees on zero."""
    return x25519.X25519PrivateKey.generate()


def _expand(seed: bytes) -> tuple[mlkem.MLKEM768PrivateKey, x25519.X25519PrivateKey]:
    """Expand X-Wing's seed as its draft says: SHAKE256 to 96 bytes, 64 for ML-KEM, 32 for X25519."""
    wide = hashlib.shake_256(seed).digest(96)
    return mlkem.MLKEM768PrivateKey.from_seed_bytes(wide[:64]), x25519.X25519PrivateKey.from_private_bytes(wide[64:])


def _public_bytes(kem: str, secret: bytes) -> bytes:
    if kem == P256:
        public = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1()).public_key()
        return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    first, second = _expand(secret)
    return first.public_key().public_bytes_raw() + second.public_key().public_bytes_raw()
