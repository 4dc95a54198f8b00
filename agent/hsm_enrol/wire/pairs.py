"""Knows whether a certificate and a private key are one pair, and whether certificates are good now (A6).

RSA numbers are checked by arithmetic, against each other and against the certificate. OpenSSL's own validation is left
out: it costs tens of milliseconds, and the usual quick checks (comparing public halves, signing once, loading the pair
into TLS) accept a flipped bit in d, p or the CRT numbers. It runs only after the answer's signature was verified.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from hsm_enrol.errors import WireError

KEY_TYPES = ("RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY")
LEAST_RSA_BITS = 2048


def check_client(certificate_pem: str, key_pem: str, now: int) -> None:
    """A6 for the client's pair; `now` in Unix seconds. Raises WireError("A6", word)."""
    certificate = load_certificate(certificate_pem, "client certificate")
    _check_dates(certificate, "client certificate", now)
    if pem_type(key_pem) not in KEY_TYPES:
        raise WireError("A6", "client key is not an unencrypted private key in PEM")
    try:
        key = load_pem_private_key(key_pem.encode("ascii"), None, unsafe_skip_rsa_key_validation=True)
        public = certificate.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise WireError("A6", "client key cannot be read") from None
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
        try:
            spki = _spki(certificate.public_key())
        except (ValueError, UnsupportedAlgorithm):
            raise WireError("A6", "server certificate has an unknown key") from None
        if keys.setdefault(certificate.subject.public_bytes(), spki) != spki:
            raise WireError("A6", "two servers share a certificate subject but not the key")


def load_certificate(pem: str, what: str) -> x509.Certificate:
    """Load a PEM text that holds exactly one certificate. Raises WireError("A6", what …)."""
    if pem_type(pem) != "CERTIFICATE":
        raise WireError("A6", f"{what} is not one certificate in PEM")
    try:
        return x509.load_pem_x509_certificate(pem.encode("ascii"))
    except ValueError:
        raise WireError("A6", f"{what} cannot be read") from None


def pem_type(pem: str) -> str | None:
    """Give the label of the one block that a PEM text consists of (RFC 7468); None when it is anything else."""
    found = re.fullmatch(
        r"-----BEGIN ([A-Z0-9 ]+)-----\n([A-Za-z0-9+/=]{1,76}\n)+-----END ([A-Z0-9 ]+)-----\n?", pem, re.ASCII
    )
    return found[1] if found and found[1] == found[3] else None


def _check_dates(certificate: x509.Certificate, what: str, now: int) -> None:
    moment = datetime.fromtimestamp(now, UTC)
    if moment < certificate.not_valid_before_utc:
        raise WireError("A6", f"{what} is not valid yet")
    if moment > certificate.not_valid_after_utc:
        raise WireError("A6", f"{what} has expired")


def _spki(key: object) -> bytes:
    encoded = getattr(key, "public_bytes", None)
    if encoded is None:
        raise UnsupportedAlgorithm("no public bytes")
    spki: bytes = encoded(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return spki
