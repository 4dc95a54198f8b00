"""Keys that never change, and one good specimen of everything that goes over the wire."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from hsm_enrol.wire.assertion import Assertion, IdentityRole, Instance
from hsm_enrol.wire.bundle import Bundle, Client, Ha, Pin, Server
from hsm_enrol.wire.keys import PublicJwk
from hsm_enrol.wire.receipt import Receipt
from hsm_enrol.wire.seal import SealPrivateKey

NOW = 1_800_000_000  # 2027-01-15T08:00:00Z
DAY = 86_400

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def key_of(number: int) -> ec.EllipticCurvePrivateKey:
    """Give the P-256 key with this scalar."""
    return ec.derive_private_key(number, ec.SECP256R1())


OWNER, ANSWERER, STRANGER = key_of(0x1001), key_of(0x2002), key_of(0x3003)
KID = PublicJwk.from_key(ANSWERER.public_key()).thumbprint


@functools.cache
def seal_key(kem: str = "p256") -> SealPrivateKey:
    """Give the asker's seal key."""
    return SealPrivateKey.from_bytes(kem, bytes(range(1, 33)))


INSTANCE = Instance(
    instance_type="m7i-flex.large",
    reservation_id="r-0123456789abcdef0",
    local_hostname="ip-10-0-0-1.eu-central-1.compute.internal",
    account_id="123456789012",
    region="eu-central-1",
    image_id="ami-0123456789abcdef0",
    local_ipv4="10.0.0.1",
    public_hostname="ec2-198-51-100-7.eu-central-1.compute.amazonaws.com",
    role="web",
)
ROLE = IdentityRole(
    region="eu-central-1",
    endpoint="regional",
    access_key_id="ASIAABCDEFGHIJKLMNOP",
    security_token="CANARY-token/+=",
    amz_date="20270115T080000Z",
    signature="c0" * 32,
)


def assertion(kem: str = "p256", **changes: Any) -> Assertion:
    """Give an assertion with every optional member, but for `changes`."""
    found = Assertion(
        aud="hsm-enrol:5d0c2f5e",
        iat=NOW,
        jti="AAECAwQFBgcICQoLDA0ODw",
        eat_nonce="nonce-of-the-verifying-party-0001",
        sub="i-0123456789abcdef0",
        cnf=PublicJwk.from_key(OWNER.public_key()),
        seal=seal_key(kem).public,
        trust=(KID,),
        instance=INSTANCE,
        reason="boot",
        have=1_790_000_000,
        pin=True,
        identity_role=ROLE,
        iid=base64.b64encode(b"CANARY cryptographic message").decode("ascii"),
    )
    return replace(found, **changes)


def receipt(**changes: Any) -> Receipt:
    """Give a receipt with every optional member, but for `changes`."""
    found = Receipt(
        aud="hsm-enrol:5d0c2f5e",
        sub="i-0123456789abcdef0",
        jti="AAECAwQFBgcICQoLDA0ODw",
        nonce="nonce-of-the-verifying-party-0001",
        serial=1_796_000_000,
        result="failed",
        code="no_slots",
        pin="untried",
    )
    return replace(found, **changes)


@functools.cache
def rsa_key(number: int = 0) -> rsa.RSAPrivateKey:
    """Give an RSA-2048 key, made once for each number."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certify(key: PrivateKey, name: str = "web", *, start: int = NOW - DAY, end: int = NOW + DAY) -> str:
    """Give a self-signed certificate as PEM."""
    subject = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "CA"), x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.fromtimestamp(start, UTC))
        .not_valid_after(datetime.fromtimestamp(end, UTC))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode("ascii")


def pem_of(key: PrivateKey, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    """Give a private key as PEM: PKCS8, or TraditionalOpenSSL for PKCS#1 and SEC 1."""
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode("ascii")


def rewrap(label: str, der: bytes) -> str:
    """Give `der` under a PEM label."""
    text = base64.b64encode(der).decode("ascii")
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


@functools.cache
def bundle() -> Bundle:
    """Give a bundle with a P-256 client and two appliances."""
    return Bundle(
        serial=1_796_000_000,
        client=Client(name="web", certificate=certify(OWNER), private_key=pem_of(OWNER)),
        servers=(
            Server(address="hsm1.example", port=1792, certificate=certify(ANSWERER, "679797")),
            Server(address="2001:db8::2", port=1793, certificate=certify(STRANGER, "679798")),
        ),
        ha=Ha(label="web-group", members=("1234567", "7654321"), only=True, retry=20, interval=60),
        pin=Pin(id="pin-00000001", value="CANARY pin"),
    )


def as_dict(payload: bytes) -> dict[str, Any]:
    """Give a payload as Python's own reader has it."""
    found: dict[str, Any] = json.loads(payload)
    return found


def dump(value: Any) -> bytes:
    """Give JSON by Python's own writer, which refuses nothing."""
    return json.dumps(value).encode("ascii")


Path = tuple[str | int, ...]


def paths(value: Any, above: Path = ()) -> Iterator[Path]:
    """Give the path of every member and item, objects and lists included."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    for name, one in inner:
        yield (*above, name)
        yield from paths(one, (*above, name))


def at(value: Any, path: Path) -> Any:
    """Give what stands at a path."""
    for name in path:
        value = value[name]
    return value


def changed(value: dict[str, Any], path: Path, new: Any) -> dict[str, Any]:
    """Give a copy with another value at `path`."""
    copy: dict[str, Any] = json.loads(json.dumps(value))
    at(copy, path[:-1])[path[-1]] = new
    return copy


def without(value: dict[str, Any], path: Path) -> dict[str, Any]:
    """Give a copy without the member at `path`."""
    copy: dict[str, Any] = json.loads(json.dumps(value))
    del at(copy, path[:-1])[path[-1]]
    return copy
