"""The courier and the real verifier's process, over real TLS: from challenge to receipt and every word in between."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hsm_enrol.errors import AlreadyEnrolled, Refused, TryLater
from hsm_enrol.host.courier import Courier, Outgoing
from hsm_enrol.host.retry import Deadline
from hsm_enrol.settings import VerifierSettings
from hsm_enrol.wire.answer import open_answer, verify_answer
from hsm_enrol.wire.assertion import Assertion, sign_assertion
from hsm_enrol.wire.keys import PublicJwk, generate_key, public_from_pem
from hsm_enrol.wire.messages import Challenge
from hsm_enrol.wire.receipt import Receipt, sign_receipt
from hsm_enrol.wire.seal import SealPrivateKey
from hsm_verifier.settings import load_settings
from tests.host.test_metadata import Waits
from tests.verifier.party import make_bundle, make_request
from tests.verifier.served import Served, serving


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("vp") / "vp", requests_per_source=200, burst_per_source=400) as one:
        yield one


@pytest.fixture(scope="module")
def serial(verifier: Served) -> int:
    return verifier.publish()


@dataclass
class Asker:
    """An instance with keys and a courier; `change` may spoil what it sends."""

    there: Served
    sub: str
    waits: Waits = field(default_factory=Waits)
    key: ec.EllipticCurvePrivateKey = field(default_factory=generate_key)
    seal: SealPrivateKey = field(default_factory=lambda: SealPrivateKey.generate("mlkem768-x25519"))
    change: Callable[[Assertion], Assertion] = lambda made: made
    sent: list[Assertion] = field(default_factory=list)

    @property
    def audience(self) -> str:
        return load_settings(self.there.folder / "hsm-verifier.toml").audience

    @property
    def answer_key(self) -> ec.EllipticCurvePublicKey:
        return public_from_pem((self.there.folder / "answer-key.pem").read_bytes())

    def courier(self, seconds: float = 60) -> Courier:
        return Courier(
            VerifierSettings(
                urls=(self.there.url,), audience=self.audience, ca_file=self.there.ca_file, answer_keys=("/k.pem",)
            ),
            root="",
            deadline=Deadline(seconds, clock=self.waits.clock),
            rng=random.Random(3),
            sleep=self.waits.sleep,
        )

    def make(self, challenge: Challenge, now: float) -> Outgoing:
        kid = PublicJwk.from_key(self.answer_key).thumbprint
        made = make_request(self.key, self.seal, sub=self.sub, eat_nonce=challenge.nonce, trust=(kid,))
        assert made.identity_role is not None
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        role = replace(made.identity_role, amz_date=date)
        self.sent.append(self.change(replace(made, aud=self.audience, iat=int(now), identity_role=role)))
        return Outgoing(
            compact=sign_assertion(self.sent[-1], self.key), instance=self.sub, thumbprint=made.cnf.thumbprint
        )

    def receipt(self, serial: int, nonce: str) -> bytes:
        told = Receipt(
            aud=self.audience,
            sub=self.sub,
            jti="A" * 22,
            nonce=nonce,
            serial=serial,
            result="installed",
            code=None,
            pin="accepted",
        )
        return sign_receipt(told, self.key)


def test_an_enrolment_from_challenge_to_receipt(verifier: Served, serial: int) -> None:
    asker = Asker(verifier, "i-00000000000000001")
    courier = asker.courier()
    answer = verify_answer(courier.ask(asker.make), [asker.answer_key])
    assert open_answer(answer, asker.sent[-1], asker.seal) == replace(make_bundle(), serial=serial)
    assert courier.tell(asker.receipt(serial, answer.nonce)) is True
    assert courier.offset == 0.0
    again = asker.courier()
    with pytest.raises(AlreadyEnrolled) as caught:
        again.ask(asker.make)
    thumbprint = PublicJwk.from_key(asker.key.public_key()).thumbprint
    assert caught.value.facts["thumbprint"] == thumbprint
    assert str(caught.value.facts["decision"]) in (verifier.folder / "audit.jsonl").read_text()
    for one in (courier, again):
        one.close()
    assert asker.waits.slept == []


def test_another_key_is_told_the_same(verifier: Served, serial: int) -> None:
    first, second = Asker(verifier, "i-00000000000000002"), Asker(verifier, "i-00000000000000002")
    one, other = first.courier(), second.courier()
    one.ask(first.make)
    with pytest.raises(AlreadyEnrolled) as caught:
        other.ask(second.make)
    assert caught.value.facts["instance"] == "i-00000000000000002"
    assert other.tell(second.receipt(serial, "A" * 43)) is False
    for each in (one, other):
        each.close()


def test_a_stale_nonce_is_asked_for_again_and_works(verifier: Served, serial: int) -> None:
    asker = Asker(verifier, "i-00000000000000003")
    stale = "A" * 43
    asker.change = lambda made: replace(made, eat_nonce=stale) if len(asker.sent) < 2 else made
    courier = asker.courier()
    answer = verify_answer(courier.ask(asker.make), [asker.answer_key])
    assert answer.serial == serial
    assert len(asker.sent) == 3
    assert asker.waits.slept == []
    courier.close()


def test_a_wrong_audience_is_refused(verifier: Served, serial: int) -> None:
    asker = Asker(verifier, "i-00000000000000004")
    asker.change = lambda made: replace(made, aud="hsm-enrol:another")
    courier = asker.courier()
    with pytest.raises(Refused) as caught:
        courier.ask(asker.make)
    assert caught.value.facts["reason"] == "unsupported"
    courier.close()


class RealWaits(Waits):
    """Who comes back at once, whatever it was told, has its connections closed."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        time.sleep(seconds)


def test_a_source_over_its_rate_is_busy_and_comes_back_as_told(tmp_path: Path) -> None:
    with serving(tmp_path / "vp", requests_per_source=0.5, burst_per_source=1) as there:
        asker = Asker(there, "i-00000000000000005", waits=RealWaits())
        courier = asker.courier(seconds=5)
        with pytest.raises(TryLater) as caught:
            courier.ask(asker.make)
        courier.close()
    assert caught.value.facts["reason"] == "busy"
    assert asker.waits.slept
    assert all(1 <= seconds <= 2 for seconds in asker.waits.slept)
