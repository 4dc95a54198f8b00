"""Keys that never change and one specimen of everything: what the vectors are made of. Good for nothing else."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from hsm_enrol.wire.assertion import Assertion, IdentityRole, Instance
from hsm_enrol.wire.bundle import FOREVER, Bundle, Client, Ha, Pin, Server
from hsm_enrol.wire.keys import PublicJwk
from hsm_enrol.wire.receipt import Receipt
from hsm_enrol.wire.seal import HYBRID, P256, SealPrivateKey

NOW = 1_800_000_000  # 2027-01-15T08:00:00Z
DAY = 86_400
SERIAL = 1_799_000_000
REGION = "eu-central-1"
SECRET_ACCESS_KEY = "not/an/access/key/of/anybody+000000000000"

# A 2,048-bit RSA key, as its two primes.
_P = int(
    "fe828a81ea3acd4435dd03c14e97a757bb936371b2686cb47bb82d1a6ee408e4"
    "6f7823bba0123f326910a6bf954cce902946644df480aabe05b186f276fe96c7"
    "f26ec099c68a55ad29efe5c2f40e1ad5074cd6d3d8a3cb3592c3fc1c8b3638e9"
    "057cd7de90f836d16df67760380fdfc9cd45f500221adb97dae2a1704eead2e9",
    16,
)
_Q = int(
    "b7d56af87b04117882c80ca9f208c588495f4cef3deddd528287b7418b347bf0"
    "68d503bc5a50bc7170852164968933c21815dffdd6f06871467b4aa1cb6ad84d"
    "addc63aba09654424a231eea6636be35aca1c10a212483ef6c4a967352343342"
    "49c93d60d228fad582c58c292dc509cf7a6d179066cd50d32ad1245a14a36df9",
    16,
)
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def curve_key(scalar: int) -> ec.EllipticCurvePrivateKey:
    """Give the P-256 key with this scalar."""
    return ec.derive_private_key(scalar, ec.SECP256R1())


def rsa_numbers() -> rsa.RSAPrivateNumbers:
    """Give the numbers of the RSA key."""
    e, n = 65537, _P * _Q
    d = pow(e, -1, (_P - 1) * (_Q - 1))
    public = rsa.RSAPublicNumbers(e, n)
    return rsa.RSAPrivateNumbers(_P, _Q, d, d % (_P - 1), d % (_Q - 1), pow(_Q, -1, _P), public)


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """Give the RSA key."""
    return rsa_numbers().private_key()


KEYS = {"owner": curve_key(0x1001), "answer": curve_key(0x2002), "stranger": curve_key(0x3003)}
JWKS = {name: PublicJwk.from_key(key.public_key()) for name, key in KEYS.items()}
SEALS = {kem: SealPrivateKey.from_bytes(kem, bytes(range(1, 33))) for kem in (HYBRID, P256)}


def certify(key: PrivateKey, name: str, *, start: int = NOW - DAY, end: int = NOW + DAY) -> str:
    """Give a self-signed certificate as PEM, the same one every time."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.fromtimestamp(start, UTC))
        .not_valid_after(datetime.fromtimestamp(end, UTC))
        .sign(key, hashes.SHA256(), ecdsa_deterministic=True if isinstance(key, ec.EllipticCurvePrivateKey) else None)
    )
    return made.public_bytes(Encoding.PEM).decode("ascii")


def pem(key: PrivateKey, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    """Give a private key as PEM."""
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode("ascii")


INSTANCE = Instance(
    instance_type="m7i-flex.large",
    reservation_id="r-0123456789abcdef0",
    local_hostname="ip-10-0-0-1.eu-central-1.compute.internal",
    account_id="123456789012",
    region=REGION,
    image_id="ami-0123456789abcdef0",
    local_ipv4="10.0.0.1",
    public_hostname="ec2-198-51-100-7.eu-central-1.compute.amazonaws.com",
    role="web-instance",
)
FULL = Assertion(
    aud="hsm-enrol:5d0c2f5e",
    iat=NOW,
    jti="AAECAwQFBgcICQoLDA0ODw",
    eat_nonce="nonce-of-the-verifying-party-0001",
    sub="i-0123456789abcdef0",
    cnf=JWKS["owner"],
    seal=SEALS[HYBRID].public,
    trust=(JWKS["answer"].thumbprint,),
    instance=INSTANCE,
    reason="boot",
    have=None,
    pin=True,
    identity_role=IdentityRole(
        region=REGION,
        endpoint="regional",
        access_key_id="ASIAABCDEFGHIJKLMNOP",
        security_token="IQoJb3JpZ2luX2VjEXAMPLE//+==",
        amz_date="20270115T080000Z",
        signature="0" * 64,
    ),
    iid=base64.b64encode(b"not a real identity document").decode("ascii"),
)
ASSERTIONS = {
    "a first boot": FULL,
    "a refresh, with all that may be absent left out": replace(
        FULL,
        seal=SEALS[P256].public,
        instance=replace(INSTANCE, local_ipv4=None, public_hostname=None, role=None),
        reason="refresh",
        have=SERIAL,
        pin=False,
        iid=None,
    ),
}
BUNDLES = {
    "P-256, recovery for ever, a PIN": Bundle(
        serial=SERIAL,
        client=Client(name="web", certificate=certify(KEYS["owner"], "web"), private_key=pem(KEYS["owner"])),
        servers=(
            Server(address="hsm1.example", port=1792, certificate=certify(KEYS["answer"], "679797")),
            Server(address="2001:db8::2", port=1793, certificate=certify(KEYS["stranger"], "679798")),
        ),
        ha=Ha(label="web-group", members=("1234567890123", "1234567890124"), only=True, retry=FOREVER, interval=60),
        pin=Pin(id="pin-00000001", value="correct horse"),
    ),
    "RSA under its own label, bounded recovery, no PIN": Bundle(
        serial=SERIAL + 1,
        client=Client(
            name="db.1",
            certificate=certify(rsa_key(), "db.1"),
            private_key=pem(rsa_key(), PrivateFormat.TraditionalOpenSSL),
        ),
        servers=(Server(address="10.0.0.9", port=1792, certificate=certify(KEYS["stranger"], "679798")),),
        ha=Ha(label="db", members=("42",), only=False, retry=500, interval=1200),
        pin=None,
    ),
}
INSTALLED = Receipt(
    aud=FULL.aud,
    sub=FULL.sub,
    jti=FULL.jti,
    nonce=FULL.eat_nonce,
    serial=SERIAL,
    result="installed",
    code=None,
    pin="accepted",
)
RECEIPTS = {
    "about to try the PIN": replace(INSTALLED, result="trying", pin="untried"),
    "installed": INSTALLED,
    "the HSM refused the PIN": replace(INSTALLED, result="failed", code="pin_refused", pin="refused"),
}
