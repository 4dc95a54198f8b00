"""Knows how to make the private CA and the TLS certificate that `init` lays down, and a later one by the same CA."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hsm_enrol.wire.assertion import HOST_NAME

LIFE = timedelta(days=3650)
EARLY = timedelta(hours=1)  # an instance's clock may be behind when it boots


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A CA and a server certificate, PEM; keys are PKCS#8 without password."""

    ca: bytes
    ca_key: bytes = field(repr=False)
    certificate: bytes
    key: bytes = field(repr=False)


def make_tls(hosts: tuple[str, ...], now: float) -> Made:
    """Make both for host names and IP addresses. `now` is Unix seconds. Raises ValueError on a bad name."""
    start = datetime.fromtimestamp(now, UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hsm-verifier CA")])
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), start, start + LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return Made(
        ca=ca.public_bytes(Encoding.PEM),
        ca_key=_pem(ca_key),
        certificate=issue(ca, ca_key, key.public_key(), hosts, now),
        key=_pem(key),
    )


def issue(
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    public: ec.EllipticCurvePublicKey,
    hosts: tuple[str, ...],
    now: float,
) -> bytes:
    """Give a server's certificate in PEM for host names and IP addresses; it ends no later than its CA's.

    `now` is Unix seconds. Raises ValueError on a bad name, or when the CA's has ended.
    """
    start = datetime.fromtimestamp(now, UTC)
    end = min(start + LIFE, ca.not_valid_after_utc)
    if end <= start:
        raise ValueError("the CA's certificate has ended")
    server = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hsm-verifier")])
    certificate = (
        _builder(server, ca.subject, public, start, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM)


def hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Give the host names and IP addresses that a certificate is for, in its order."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(one.value) for one in names if isinstance(one, x509.DNSName | x509.IPAddress))


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - EARLY)
        .not_valid_after(end)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def host_of(text: str) -> str:
    """Give a host name or an IP address in its one spelling. Raises ValueError on anything else, as a URL or a port."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        name = text.removeprefix("*.")
        if not re.fullmatch(HOST_NAME, name, re.ASCII) or re.fullmatch("[0-9.]+", name):
            raise ValueError("neither a host name nor an IP address") from None
        return text.lower()


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
