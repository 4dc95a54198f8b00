"""Knows how to make certificates as Luna appliances and clients make them: self-signed, serial number 0, no extensions.

Seen (a published appliance certificate, decoded): subject = issuer C=CA, ST=Ontario, L=Ottawa, O=Chrysalis-ITS,
CN=<a number>, RSA-2048, about ten years, and no name that anybody could compare with an address.
"""

from __future__ import annotations

import functools
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path

from asn1crypto.x509 import Certificate as Asn1Certificate
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from lab.pki import Pair, name, rsa_key, self_signed

TEN_YEARS = 3650  # days


@dataclass(frozen=True, slots=True, kw_only=True)
class LunaPair:
    """Two PEM texts; the key is in the form every client generation takes, PKCS#1 without encryption."""

    certificate: str
    key: str = field(repr=False)


@functools.cache
def cached_key(use: str) -> rsa.RSAPrivateKey:  # noqa: ARG001  the cache's key
    """Give an RSA-2048 key, made once per process for each use; making one takes a tenth of a second."""
    return rsa_key()


def appliance_pair(number: str, key: rsa.RSAPrivateKey, *, days: int = TEN_YEARS, begin: int = -1) -> LunaPair:
    """Make an appliance's certificate, valid from `begin` days from now for `days`."""
    return _pair("Chrysalis-ITS", number, key, days=days, begin=begin)


def client_pair(client: str, key: rsa.RSAPrivateKey, *, days: int = TEN_YEARS, begin: int = -1) -> LunaPair:
    """Make a client's certificate as `vtl createCert` does; the organisation's name is made up."""
    return _pair("My company", client, key, days=days, begin=begin)


def _pair(organisation: str, common_name: str, key: rsa.RSAPrivateKey, *, days: int, begin: int) -> LunaPair:
    subject = name(C="CA", ST="Ontario", L="Ottawa", O=organisation, CN=common_name)
    made = self_signed(subject, key, days=days, begin=begin)
    return LunaPair(certificate=_with_serial_zero(made, key), key=made.key_pem)


def _with_serial_zero(made: Pair, key: rsa.RSAPrivateKey) -> str:
    """Sign anew with the serial number that RFC 5280 forbids and Luna uses; the x509 module refuses to."""
    certificate = Asn1Certificate.load(made.certificate.public_bytes(Encoding.DER))
    certificate["tbs_certificate"]["serial_number"] = 0
    signed = certificate["tbs_certificate"].dump(force=True)
    certificate["signature_value"] = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return pem_of(certificate.dump(force=True))


def pem_of(der: bytes) -> str:
    """Write a certificate as PEM."""
    return ssl.DER_cert_to_PEM_cert(der)


def main() -> None:
    """Write a client's pair: `python -m lab.luna.certificates NAME CERTIFICATE KEY`, which is what createCert calls."""
    client, certificate, key = sys.argv[1:]
    pair = client_pair(client, rsa_key())
    Path(certificate).write_text(pair.certificate, encoding="ascii")
    Path(key).touch(mode=0o600)
    Path(key).write_text(pair.key, encoding="ascii")


if __name__ == "__main__":
    main()
