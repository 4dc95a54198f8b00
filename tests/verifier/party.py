"""A verifying party in process: real ledger, vault, audit and keys; AWS and the policy are played."""

# ruff: noqa: ARG002  played parties take what real ones take

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from hsm_enrol.wire.assertion import Assertion, IdentityRole, Instance, sign_assertion
from hsm_enrol.wire.bundle import Bundle, Client, Ha, Pin, Server
from hsm_enrol.wire.keys import PublicJwk, generate_key
from hsm_enrol.wire.receipt import Receipt, sign_receipt
from hsm_enrol.wire.seal import SealPrivateKey
from hsm_enrol.wire.strict import b64u_encode
from hsm_verifier.audit import Audit
from hsm_verifier.evidence.iid import Document
from hsm_verifier.inventory.facts import Facts
from hsm_verifier.policy import Group, Mismatch, Verdict
from hsm_verifier.refusal import Refusal
from hsm_verifier.world import World

AUDIENCE = "hsm-enrol:test"
NONCE_KEY = bytes(range(32))
NOW = 1_800_000_000.0
INSTANCE = "i-0123456789abcdef0"

PIN = "CANARY-pin-4711"


def make_pair(name: str) -> tuple[str, str]:
    """A self-signed certificate and its key as PEM, good for these tests' time."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.fromtimestamp(NOW, UTC) - timedelta(days=3650)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=7300))
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(Encoding.PEM).decode(),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


CLIENT_CERTIFICATE, CLIENT_KEY = make_pair("web")
SERVER_CERTIFICATE, _ = make_pair("hsm1")


def make_bundle(pin_id: str = "pin-00000001", members: tuple[str, ...] = ("1234", "5678")) -> Bundle:
    return Bundle(
        serial=1,
        client=Client(name="web", certificate=CLIENT_CERTIFICATE, private_key=CLIENT_KEY),
        servers=(Server(address="hsm1.example", port=1792, certificate=SERVER_CERTIFICATE),),
        ha=Ha(label="group", members=members, only=True, retry=-1, interval=60),
        pin=Pin(id=pin_id, value=PIN) if pin_id else None,
    )


FACTS = Facts(
    instance_id=INSTANCE,
    account="111122223333",
    region="eu-central-1",
    state="running",
    instance_type="m5.large",
    image_id="ami-0123456789abcdef0",
    reservation_id="r-0123456789abcdef0",
    private_dns="ip-10-0-0-7.ec2.internal",
    public_dns=None,
    private_ip="10.0.0.7",
    public_ip=None,
    launch_time=NOW - 60,
    created=NOW - 60,
    vpc=None,
    subnet=None,
    http_tokens="required",
    profile_arn=None,
    role="web",
)
DOCUMENT = Document(
    instance_id=INSTANCE,
    account_id="111122223333",
    region="eu-central-1",
    image_id="ami-0123456789abcdef0",
    instance_type="m5.large",
    private_ip="10.0.0.7",
    availability_zone="eu-central-1a",
    pending_time=int(NOW) - 70,
)
WEB = Group(name="web", accounts=("111122223333",), regions=("eu-central-1",))


ADMITTED = Verdict(group="web", mismatches=())


def differs(what: str, *, enforced: bool = True) -> Mismatch:
    return Mismatch(check="V10", what=what, enforced=enforced)


@dataclass
class PlayedPolicy:
    """Says yes unless told otherwise; remembers what it was asked."""

    web: Group = WEB
    verdict: Verdict = ADMITTED
    lowest: str | None = "identity-role"
    asked: list[tuple[str, float, bool]] = field(default_factory=list)

    def lowest_level(self, account: str, region: str) -> str | None:
        return self.lowest if (account, region) == ("111122223333", "eu-central-1") else None

    def handing_out(self, bundle: str, account: str, region: str) -> tuple[Group, ...]:
        group = self.group("web" if self.verdict.group is None else self.verdict.group)
        return (group,) if bundle == group.bundle_name else ()

    def judge(
        self,
        request: Assertion,
        facts: Facts,
        document: Document | None,
        /,
        *,
        source: str,
        now: float,
        first_time: bool,
    ) -> Verdict:
        self.asked.append((source, now, first_time))
        return self.verdict

    def group(self, name: str) -> Group:
        return replace(self.web, name=name)

    def names(self) -> tuple[str, ...]:
        return ("web",)


@dataclass
class PlayedAws:
    """STS, EC2 and the document check: counts calls, refuses when told to."""

    sts_says: Refusal | None = None
    ec2_says: Refusal | None = None
    iid_says: Refusal | None = None
    facts: Facts = FACTS
    document: Document = DOCUMENT
    certificate_here: bool = True
    calls: list[str] = field(default_factory=list)

    def ask(self, assertion: Assertion) -> object:
        self.calls.append("sts")
        if self.sts_says:
            raise self.sts_says
        return assertion.sub

    def close(self) -> None:
        self.calls.append("closed")

    def look_up(self, request: Assertion) -> Facts:
        self.calls.append("ec2")
        if self.ec2_says:
            raise self.ec2_says
        return self.facts

    def knows(self, region: str) -> bool:
        return self.certificate_here

    def verify(self, rsa2048: str, region: str) -> Document:
        self.calls.append("iid")
        if self.iid_says:
            raise self.iid_says
        return self.document


def make_request(
    key: ec.EllipticCurvePrivateKey, seal: SealPrivateKey, *, sub: str, eat_nonce: str, trust: tuple[str, ...]
) -> Assertion:
    return Assertion(
        aud=AUDIENCE,
        iat=int(NOW),
        jti=b64u_encode(random.randbytes(16)),
        eat_nonce=eat_nonce,
        sub=sub,
        cnf=PublicJwk.from_key(key.public_key()),
        seal=seal.public,
        trust=trust,
        instance=Instance(
            instance_type="m5.large",
            reservation_id="r-0123456789abcdef0",
            local_hostname="ip-10-0-0-7.ec2.internal",
            account_id="111122223333",
            region="eu-central-1",
            image_id="ami-0123456789abcdef0",
            local_ipv4="10.0.0.7",
            public_hostname=None,
            role="web",
        ),
        reason="boot",
        have=None,
        pin=False,
        identity_role=IdentityRole(
            region="eu-central-1",
            endpoint="regional",
            access_key_id="ASIAABCDEFGHIJKLMNOP",
            security_token="CANARYtoken",
            amz_date="20270115T080000Z",
            signature="a" * 64,
        ),
        iid=None,
    )


@dataclass
class Asker:
    """One instance that asks: its keys and how it fills an assertion."""

    party: "Party"
    instance_id: str = INSTANCE
    key: ec.EllipticCurvePrivateKey = field(default_factory=generate_key)
    seal: SealPrivateKey = field(default_factory=lambda: SealPrivateKey.generate("p256"))

    @property
    def jwk(self) -> PublicJwk:
        return PublicJwk.from_key(self.key.public_key())

    def request(self, **changes: object) -> Assertion:
        made = make_request(
            self.key,
            self.seal,
            sub=self.instance_id,
            eat_nonce=self.party.world.nonces.make(self.party.now),
            trust=self.party.world.keys.kids,
        )
        return replace(made, **changes)  # type: ignore[arg-type]  # tests change what they like

    def ask(self, **changes: object) -> bytes:
        return sign_assertion(self.request(**changes), self.key)

    def receipt(self, serial: int, nonce: str, result: str = "installed", pin: str = "accepted", **more: str) -> bytes:
        told = Receipt(
            aud=AUDIENCE,
            sub=self.instance_id,
            jti=b64u_encode(random.randbytes(16)),
            nonce=nonce,
            serial=serial,
            result=result,
            code=more.get("code"),
            pin=pin,
        )
        return sign_receipt(told, self.key)


@dataclass
class Party:
    """The whole verifying party in a folder."""

    folder: Path
    world: World
    audit: Audit
    policy: PlayedPolicy
    aws: PlayedAws
    now: float = NOW

    def asker(self, instance_id: str = INSTANCE) -> Asker:
        return Asker(party=self, instance_id=instance_id)
