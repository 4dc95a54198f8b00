"""Knows whether a certificate and a private key are one pair, and whether certificates are good now (A6).

RSA numbers are checked by arithmetic, against each other and against the certificate. OpenSSL's own validation is left
out: it costs tens of milliseconds, and the usual quick checks (comparing public halves, signing once, loading the pair
into TLS) accept a flipped bit in d, p or the CRT numbers. It runs only after the answer's signature was verified.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from hsm_enrol.errors import WireError
from hsm_enrol.wire.certificate import Certificate, read_certificate, unpem

# What each PEM label must hold: a PKCS#1 label on a P-256 key is two readings.
KEY_TYPES: dict[str, tuple[type, ...]] = {
    "RSA PRIVATE KEY": (rsa.RSAPrivateKey,),
    "EC PRIVATE KEY": (ec.EllipticCurvePrivateKey,),
    "PRIVATE KEY": (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey),
}
LEAST_RSA_BITS = 2048


def check_client(certificate_pem: str, key_pem: str, now: int) -> None:
    """A6 for the client's pair; `now` in Unix seconds. Raises WireError("A6", word)."""
    certificate = load_certificate(certificate_pem, "client certificate")
    _check_dates(certificate, "client certificate", now)
    block = unpem(key_pem)
    if block is None or block[0] not in KEY_TYPES:
        raise WireError("A6", "client key is not an unencrypted private key in PEM")
    try:
        key = load_pem_private_key(key_pem.encode("ascii"), None, unsafe_skip_rsa_key_validation=True)
        public = load_der_public_key(certificate.spki)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise WireError("A6", "client key cannot be read") from None
    if not isinstance(key, KEY_TYPES[block[0]]):
        raise WireError("A6", "client key is not what its PEM label says")
    if isinstance(key, rsa.RSAPrivateKey) and isinstance(public, rsa.RSAPublicKey):
        fits = rsa_fits(key.private_numbers(), public.public_numbers())
    elif isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(public, ec.EllipticCurvePublicKey):
        # A scalar has no redundancy: deriving the public point anew is the whole check.
        derived = ec.derive_private_key(key.private_numbers().private_value, key.curve).public_key()
        fits = _spki(derived) == _spki(public) == _spki(key.public_key())
    else:
        fits = False
    if not fits:
        raise WireError("A6", "client certificate and key are no pair")


def rsa_fits(private: rsa.RSAPrivateNumbers, public: rsa.RSAPublicNumbers) -> bool:
    """Check all eight numbers of RFC 8017 section 3.2 against each other and against the certificate's two."""
    n, e, p, q = private.public_numbers.n, private.public_numbers.e, private.p, private.q
    return (
        (n, e) == (public.n, public.e)
        and n.bit_length() >= LEAST_RSA_BITS
        and p > 1
        and q > 1
        and p * q == n
        and 1 < private.d < n
        and private.d * e % math.lcm(p - 1, q - 1) == 1
        and private.dmp1 == private.d % (p - 1)
        and private.dmq1 == private.d % (q - 1)
        and 0 < private.iqmp < p
        and private.iqmp * q % p == 1
    )


def check_servers(certificates: Sequence[str], now: int) -> None:
    """A6 for the appliances: one certificate each, good now, and no subject with two keys.

    Of two self-signed certificates with one subject in a CA file, OpenSSL uses only the first.
    """
    keys: dict[bytes, bytes] = {}
    for pem in certificates:
        certificate = load_certificate(pem, "server certificate")
        _check_dates(certificate, "server certificate", now)
        if keys.setdefault(certificate.subject, certificate.spki) != certificate.spki:
            raise WireError("A6", "two servers share a certificate subject but not the key")


def load_certificate(pem: str, what: str) -> Certificate:
    """Load a PEM text that holds exactly one certificate. Raises WireError("A6", what …)."""
    block = unpem(pem)
    if block is None or block[0] != "CERTIFICATE":
        raise WireError("A6", f"{what} is not one certificate in PEM")
    try:
        return read_certificate(block[1])
    except ValueError:
        raise WireError("A6", f"{what} cannot be read") from None


def _check_dates(certificate: Certificate, what: str, now: int) -> None:
    if now < certificate.not_before:
        raise WireError("A6", f"{what} is not valid yet")
    if now > certificate.not_after:
        raise WireError("A6", f"{what} has expired")


def _spki(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
