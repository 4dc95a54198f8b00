"""Knows the folder of AWS's regional certificates: REGION.pem each, imported from the EC2 guide's text."""

from __future__ import annotations

import re
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from hsm_enrol.wire.assertion import REGION

LEAST_BITS = 2048  # `rsa2048`; the guide also prints 1024-bit DSA and RSA certificates, for the older signatures
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_CODE = re.compile(r"\b([a-z]{2,5}(?:-[a-z]{2,12}){1,2}-[0-9]{1,2})\b")


class CertificateError(Exception):
    """A certificate that cannot be used; the text says which and why."""


def load_folder(folder: Path) -> dict[str, x509.Certificate]:
    """Read every REGION.pem: exactly one RSA certificate of at least 2048 bits each. Raises CertificateError."""
    if not folder.is_dir():  # a mistyped name would be a verifier that checks no document
        raise CertificateError(f"state.aws_certs: {folder} is no folder")
    found = {}
    for path in sorted(folder.glob("*.pem")):
        if not re.fullmatch(REGION, path.stem, re.ASCII):
            raise CertificateError(f"{path.name} is not named after a region")
        found[path.stem] = _load(path.read_bytes(), path.name)
    return found


def import_text(text: str) -> dict[str, x509.Certificate]:
    """Find the certificates in the text of the guide's page: the last region code named before a block is its region.

    Blocks with another kind of key (the page lists DSA and RSA-1024 too) are passed over. A region with two different
    RSA-2048 certificates is refused: exactly one is pinned. Raises CertificateError.
    """
    found: dict[str, x509.Certificate] = {}
    region, at = "", 0
    for block in _BLOCK.finditer(text):
        codes = _CODE.findall(text[at : block.start()])
        region, at = (codes[-1] if codes else region), block.end()
        try:
            certificate = x509.load_pem_x509_certificate(block[0].encode())
        except ValueError:
            raise CertificateError(f"a block after {region or 'no region'} is no certificate") from None
        if not _is_wanted(certificate):
            continue
        if not region:
            raise CertificateError("a certificate stands before any region's name")
        if found.setdefault(region, certificate) != certificate:
            raise CertificateError(f"two different certificates for {region}")
    return found


def fingerprint(certificate: x509.Certificate) -> str:
    """Give the SHA-256 fingerprint in hex, to be compared by a person."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def _load(pem: bytes, name: str) -> x509.Certificate:
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise CertificateError(f"{name} is no certificate in PEM") from None
    if len(certificates) != 1 or not _is_wanted(certificates[0]):
        raise CertificateError(f"{name} is not exactly one RSA certificate of {LEAST_BITS} bits or more")
    return certificates[0]


def _is_wanted(certificate: x509.Certificate) -> bool:
    try:
        key = certificate.public_key()
    except ValueError:
        return False
    return isinstance(key, rsa.RSAPublicKey) and key.key_size >= LEAST_BITS
