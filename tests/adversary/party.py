"""A verifying party seen from outside, and instances that ask it: all that a stranger with a network cable has.

Nothing here looks into the verifier. It is told an address, a CA, an audience, answer keys, and where instances find
their metadata service.
"""

import random
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import requests
from cryptography.hazmat.primitives.asymmetric import ec

from hsm_enrol.host.imds import Identity, Imds
from hsm_enrol.host.retry import Deadline
from hsm_enrol.host.sigv4 import sign_get_caller_identity
from hsm_enrol.wire import jws
from hsm_enrol.wire.answer import Answer, open_answer, verify_answer
from hsm_enrol.wire.assertion import Assertion, sign_assertion
from hsm_enrol.wire.bundle import Bundle
from hsm_enrol.wire.keys import PublicJwk, generate_key
from hsm_enrol.wire.messages import ANSWER_TYPE, ASSERTION_TYPE, PROBLEM_TYPE, REASONS, RECEIPT_TYPE, Challenge, Problem
from hsm_enrol.wire.receipt import Receipt, sign_receipt
from hsm_enrol.wire.seal import SealPrivateKey
from hsm_enrol.wire.strict import b64u_encode
from lab.asking import now

PATIENCE = 8  # so often a "busy" is obeyed before it counts as the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> Problem:
        """R2: the verifier's word, by its media type and a reason that the protocol has."""
        assert self.headers.get("content-type") == PROBLEM_TYPE, (self.status, self.body[:200])
        told = Problem.from_bytes(self.body)
        assert told.reason in REASONS
        assert told.status == self.status
        return told

    @property
    def reason(self) -> str:
        """Why it was refused, "" when it was not."""
        return "" if self.status in {200, 204} else self.problem.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Where the verifying party is, and what an asker pins of it."""

    url: str
    ca_file: Path
    audience: str
    answer_keys: tuple[ec.EllipticCurvePublicKey, ...]
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        """Take nothing from the environment."""
        self.session.trust_env = False
        self.session.verify = str(self.ca_file)

    @property
    def kids(self) -> tuple[str, ...]:
        return tuple(PublicJwk.from_key(key).thumbprint for key in self.answer_keys)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        patient: bool = True,
    ) -> Reply:
        """One exchange; a source limiter's "busy" is obeyed when `patient`, so that a suite may be run anywhere."""
        for left in range(PATIENCE if patient else 0, -1, -1):
            with self.session.request(
                method, f"{self.url}{path}", data=body, headers=headers, allow_redirects=False, timeout=20
            ) as got:
                reply = Reply(
                    status=got.status_code,
                    headers={name.lower(): value for name, value in got.headers.items()},
                    body=got.content,
                )
            if reply.status != 429 or not left:
                break
            pause(float(reply.headers["retry-after"]))
        return reply

    def challenge(self) -> Challenge:
        return Challenge.from_bytes(self.ask("GET", "/v1/challenge").body)

    def enrol(self, assertion: bytes, *, patient: bool = True) -> Reply:
        return self.ask("POST", "/v1/enrolments", assertion, {"content-type": ASSERTION_TYPE}, patient=patient)

    def receive(self, receipt: bytes) -> Reply:
        return self.ask("POST", "/v1/receipts", receipt, {"content-type": RECEIPT_TYPE})

    def fresh_session(self) -> "Party":
        """The same party over a connection of one's own (a session is not for two threads)."""
        return replace(self, session=requests.Session())


def pause(seconds: float) -> None:
    """Let time pass that the other side asked for."""
    threading.Event().wait(seconds)


def identity_at(imds: str) -> Identity:
    """Read an instance's metadata service."""
    asker = Imds(imds, deadline=Deadline(20), rng=random.Random(), sleep=pause)
    try:
        return asker.fetch_identity()
    finally:
        asker.close()


@dataclass
class Subject:
    """One instance that asks: what AWS calls it, its owner key, and the seal key of this run."""

    party: Party
    identity: Identity
    key: ec.EllipticCurvePrivateKey = field(default_factory=generate_key)
    seal: SealPrivateKey = field(default_factory=lambda: SealPrivateKey.generate("p256"))

    @property
    def id(self) -> str:
        return self.identity.instance_id

    def with_another_key(self) -> "Subject":
        """Another process on the same instance: AWS's proof is as good, the key is its own."""
        return Subject(self.party, self.identity)

    def next_run(self) -> "Subject":
        """The same instance after a reboot: the owner key stayed, the seal key in /run did not."""
        return Subject(self.party, self.identity, key=self.key)

    def request(self, **changes: Any) -> Assertion:
        """An assertion with a fresh nonce and AWS's proof over exactly what it says (but for what `changes` after)."""
        nonce = changes.pop("eat_nonce", None) or self.party.challenge().nonce
        bare = Assertion(
            aud=self.party.audience,
            iat=1,
            jti=b64u_encode(random.randbytes(16)),
            eat_nonce=nonce,
            sub=self.id,
            cnf=PublicJwk.from_key(self.key.public_key()),
            seal=self.seal.public,
            trust=self.party.kids,
            instance=self.identity.instance,
            reason="boot",
            have=None,
            pin=False,
            identity_role=None,
            iid=self.identity.rsa2048,
        )
        given = "identity_role" in changes
        bare = replace(bare, **changes)
        return bare if given else self.proven(bare)

    def proven(self, bare: Assertion, *, binding: str = "", date: str = "") -> Assertion:
        """Put in what AWS's credentials sign: the binding of the request, or another text in its place."""
        proof = sign_get_caller_identity(
            self.identity.credentials,
            region=self.identity.instance.region,
            endpoint="regional",
            suffix=None,
            amz_date=date or now(),
            binding=binding or bare.binding(),
        )
        return replace(bare, identity_role=proof)

    def sign(self, request: Assertion) -> bytes:
        return sign_assertion(request, self.key)

    def sign_payload(self, payload: bytes, header: bytes = jws.ASSERTION_HEADER) -> bytes:
        """A well-signed JWS around any payload."""
        return jws.sign(header, payload, self.key)

    def enrol(self, **changes: Any) -> Reply:
        """Ask, and open what comes: a 200 that does not open is no 200."""
        request = self.request(**changes)
        reply = self.party.enrol(self.sign(request))
        if reply.status == 200:
            self.opened(request, reply)
        return reply

    def served(self, **changes: Any) -> Answer:
        """Ask and insist on an answer."""
        request = self.request(**changes)
        reply = self.party.enrol(self.sign(request))
        assert reply.status == 200, (reply.status, reply.body)
        self.opened(request, reply)
        return verify_answer(reply.body, self.party.answer_keys)

    def opened(self, request: Assertion, reply: Reply) -> Bundle | None:
        """A2 to A5 on an answer to `request`."""
        assert reply.headers["content-type"] == ANSWER_TYPE
        assert reply.headers["cache-control"] == "no-store"
        return open_answer(verify_answer(reply.body, self.party.answer_keys), request, self.seal)

    def told(self, answer: Answer, result: str = "installed", pin: str = "unused", **more: Any) -> Reply:
        """Send a receipt about an answer."""
        return self.party.receive(self.receipt(answer, result, pin, **more))

    def receipt(self, answer: Answer, result: str = "installed", pin: str = "unused", **more: Any) -> bytes:
        note = Receipt(
            aud=self.party.audience,
            sub=self.id,
            jti=b64u_encode(random.randbytes(16)),
            nonce=answer.nonce,
            serial=answer.serial,
            result=result,
            code=None,
            pin=pin,
        )
        return sign_receipt(replace(note, **more), self.key)
