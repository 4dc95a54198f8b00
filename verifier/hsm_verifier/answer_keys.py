"""Knows the keys that sign answers: one, or two while a rotation is under way; not the TLS key."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from hsm_enrol.wire.keys import PublicJwk, private_from_pem
from hsm_verifier.durable import read_secret


class AnswerKeys:
    """Signing keys by their kid (RFC 7638 thumbprint), preferred first."""

    def __init__(self, keys: tuple[ec.EllipticCurvePrivateKey, ...]) -> None:
        """Take at least one key."""
        self._keys = {PublicJwk.from_key(key.public_key()).thumbprint: key for key in keys}

    @classmethod
    def load(cls, paths: tuple[str, ...]) -> AnswerKeys:
        """Read PEM files of mode 0600. Raises OSError, WireError."""
        return cls(tuple(private_from_pem(read_secret(Path(path))) for path in paths))

    @property
    def kids(self) -> tuple[str, ...]:
        """Give the kids, preferred first."""
        return tuple(self._keys)

    def choose(self, trust: tuple[str, ...]) -> ec.EllipticCurvePrivateKey | None:
        """V4: give the preferred key among those the asker pins, None when it pins none of ours."""
        return next((key for kid, key in self._keys.items() if kid in trust), None)
