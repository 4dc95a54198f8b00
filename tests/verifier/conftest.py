"""A verifying party in process: real ledger, vault, audit and keys; AWS and the policy are played."""

# ruff: noqa: ARG002  played parties take what real ones take

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
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
from hsm_verifier.answer_keys import AnswerKeys
from hsm_verifier.audit import Audit
from hsm_verifier.decide import World
from hsm_verifier.ledger.store import Store, sqlite_url
from hsm_verifier.limits import Buckets
from hsm_verifier.nonce import Nonces
from hsm_verifier.refusal import Refusal
from hsm_verifier.vault import Vault

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


@dataclass
class PlayedFacts:
    launch_time: float | None = NOW - 60


@dataclass
class PlayedDocument:
    instance_id: str = INSTANCE
    account_id: str = "111122223333"
    region: str = "eu-central-1"
    image_id: str = "ami-0123456789abcdef0"
    instance_type: str = "m5.large"
    private_ip: str = "10.0.0.7"
    pending_time: int = int(NOW) - 70


@dataclass
class PlayedGroup:
    level: str = "identity-role"
    kems: tuple[str, ...] = ("p256", "mlkem768-x25519")
    lost_key: str = "grant"
    release_gate: bool = True
    demand_iid: bool = False


@dataclass
class PlayedVerdict:
    group: str | None = "web"
    mismatches: tuple[object, ...] = ()


@dataclass
class PlayedPolicy:
    """Says yes unless told otherwise; remembers what it was asked."""

    web: PlayedGroup = field(default_factory=PlayedGroup)
    verdict: PlayedVerdict = field(default_factory=PlayedVerdict)
    lowest: str | None = "identity-role"
    asked: list[tuple[str, float, bool]] = field(default_factory=list)

    def lowest_level(self, account: str, region: str) -> str | None:
        return self.lowest if (account, region) == ("111122223333", "eu-central-1") else None

    def judge(
        self,
        request: Assertion,
        facts: object,
        document: object,
        *,
        source: str,
        now: float,
        first_time: bool,
    ) -> PlayedVerdict:
        self.asked.append((source, now, first_time))
        return self.verdict

    def group(self, name: str) -> PlayedGroup:
        return self.web

    def names(self) -> tuple[str, ...]:
        return ("web",)


@dataclass
class PlayedAws:
    """STS, EC2 and the document check: counts calls, refuses when told to."""

    sts_says: Refusal | None = None
    ec2_says: Refusal | None = None
    iid_says: Refusal | None = None
    facts: PlayedFacts = field(default_factory=PlayedFacts)
    document: PlayedDocument = field(default_factory=PlayedDocument)
    certificate_here: bool = True
    calls: list[str] = field(default_factory=list)

    def ask(self, assertion: Assertion) -> object:
        self.calls.append("sts")
        if self.sts_says:
            raise self.sts_says
        return assertion.sub

    def look_up(self, instance_id: str, account: str, region: str, role: str | None) -> PlayedFacts:
        self.calls.append("ec2")
        if self.ec2_says:
            raise self.ec2_says
        return self.facts

    def knows(self, region: str) -> bool:
        return self.certificate_here

    def verify(self, rsa2048: str, region: str) -> PlayedDocument:
        self.calls.append("iid")
        if self.iid_says:
            raise self.iid_says
        return self.document


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
        made = Assertion(
            aud=AUDIENCE,
            iat=int(NOW),
            jti=b64u_encode(random.randbytes(16)),
            eat_nonce=self.party.world.nonces.make(self.party.now),
            sub=self.instance_id,
            cnf=self.jwk,
            seal=self.seal.public,
            trust=self.party.world.keys.kids,
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


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(sqlite_url(tmp_path / "ledger.sqlite"))
    made.create(audience=AUDIENCE, nonce_key=NONCE_KEY)
    yield made
    made.close()


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    (tmp_path / "bundles").mkdir()
    return Vault(tmp_path / "bundles", b"v" * 32)


@pytest.fixture
def party(tmp_path: Path, store: Store, vault: Vault) -> Party:
    policy, aws = PlayedPolicy(), PlayedAws()
    clock: list[Party] = []
    now: Callable[[], float] = lambda: clock[0].now if clock else NOW  # noqa: E731  a clock that the test moves
    world = World(
        audience=AUDIENCE,
        policy=policy,
        store=store,
        vault=vault,
        nonces=Nonces(NONCE_KEY, AUDIENCE),
        keys=AnswerKeys((generate_key(),)),
        sts=aws,
        inventory=aws,
        documents=aws,
        asks=Buckets(6 / 60, 6, now),
        clock=now,
        rng=random.Random(1),
    )
    made = Party(folder=tmp_path, world=world, audit=Audit(tmp_path / "audit.jsonl"), policy=policy, aws=aws)
    clock.append(made)
    return made


@pytest.fixture
def published(party: Party) -> int:
    """A bundle with a PIN for group web; gives its serial."""
    return party.world.vault.put("web", make_bundle(), NOW)
