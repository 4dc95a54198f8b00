"""Knows the bundles of a made-up fleet: each group's members, and certificates that end when they are to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hsm_enrol.wire.bundle import Bundle, Client, Ha, Pin, Server
from lab import pki

DAY = 86400.0


def members_of(group: str) -> tuple[str, ...]:
    """Give the serials of a group's members."""
    return {"web": ("154438865290", "154438865304"), "batch": ("154438865311",)}.get(
        group, ("154438865325", "154438865339", "154438865342")
    )


def bundle_of(group: str, begin: float, end: float) -> Bundle:
    """Give a group's bundle, published at `begin`; its client certificate lasts until `end`."""
    certificate, key = _pair(group, begin - DAY, end)
    members = members_of(group)
    return Bundle(
        serial=1,
        client=Client(name=group, certificate=certificate, private_key=key),
        servers=tuple(
            Server(
                address=f"hsm{number}.example", port=1792, certificate=_pair(f"hsm{number}", begin - DAY, end + DAY)[0]
            )
            for number in range(1, len(members) + 1)
        ),
        ha=Ha(label=f"{group}-ha", members=members, only=True, retry=-1, interval=60),
        pin=Pin(id=f"pin-of-{group}", value="not-a-real-pin"),
    )


def _pair(common_name: str, begin: float, end: float) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = pki.name(CN=common_name)
    start, stop = (datetime.fromtimestamp(0, UTC) + timedelta(seconds=moment) for moment in (begin, end))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(stop)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return made.public_bytes(Encoding.PEM).decode(), pem
