"""Knows how to make the laboratory's certificates: authorities, servers, self-signed ones; keys are thrown away."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)

    @property
    def certificate_pem(self) -> str:
        """Give the certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    @property
    def key_pem(self) -> str:
        """Give the key as PEM, in the traditional form (PKCS#1 for RSA), which every Luna client takes."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ).decode("ascii")


def ec_key() -> ec.EllipticCurvePrivateKey:
    """Make a P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def rsa_key() -> rsa.RSAPrivateKey:
    """Make an RSA-2048 key."""
    return rsa.generate_private_key(65537, 2048)


def name(**parts: str) -> x509.Name:
    """Make a distinguished name of parts, as in `name(CN="679797")`."""
    oids = {
        "C": NameOID.COUNTRY_NAME,
        "ST": NameOID.STATE_OR_PROVINCE_NAME,
        "L": NameOID.LOCALITY_NAME,
        "O": NameOID.ORGANIZATION_NAME,
        "CN": NameOID.COMMON_NAME,
    }
    return x509.Name([x509.NameAttribute(oids[part], text) for part, text in parts.items()])


def self_signed(subject: x509.Name, key: PrivateKey | None = None, *, days: int = 3650, begin: int = -1) -> Pair:
    """Make a self-signed certificate without extensions, valid from `begin` days from now for `days`."""
    key = key or rsa_key()
    now = dt.datetime.now(dt.UTC)
    builder = _builder(subject, subject, key, now + begin * DAY, now + (begin + days) * DAY)
    return Pair(certificate=builder.sign(key, hashes.SHA256()), key=key)


def authority(common_name: str) -> Pair:
    """Make a certificate authority of one's own."""
    key = ec_key()
    now = dt.datetime.now(dt.UTC)
    builder = _builder(name(CN=common_name), name(CN=common_name), key, now - DAY, now + 365 * DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return Pair(certificate=builder.add_extension(usage, critical=True).sign(key, hashes.SHA256()), key=key)


def server(issuer: Pair, hosts: Sequence[str]) -> Pair:
    """Make a server certificate for host names and IP addresses."""
    key = ec_key()
    now = dt.datetime.now(dt.UTC)
    builder = _builder(name(CN=hosts[0][:64]), issuer.certificate.subject, key, now - DAY, now + 90 * DAY)
    builder = builder.add_extension(x509.SubjectAlternativeName([_san(host) for host in hosts]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.certificate.public_key())  # type: ignore[arg-type]  # ours are EC
    builder = builder.add_extension(identifier, critical=False)
    return Pair(certificate=builder.sign(issuer.key, hashes.SHA256()), key=key)


def _san(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, begin: dt.datetime, end: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
