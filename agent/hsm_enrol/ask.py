"""Knows how to ask for a bundle: state who this is, with AWS's proof, and open only an answer to that very question."""

from __future__ import annotations

import base64
import ipaddress
import secrets
import time
from collections.abc import Sequence
from dataclasses import field, replace

from cryptography.hazmat.primitives.asymmetric import ec

from hsm_enrol.errors import (
    AnswerRejected,
    BadSettings,
    KemMissing,
    NotOpened,
    OlderSerial,
    SealError,
    ServerNotAllowed,
    SettingsMissing,
    StsUnknown,
    WireError,
)
from hsm_enrol.host import files
from hsm_enrol.host.courier import FRESH, Courier, Outgoing
from hsm_enrol.host.folders import below
from hsm_enrol.host.imds import Identity, Imds
from hsm_enrol.host.retry import boottime
from hsm_enrol.host.sigv4 import sign_get_caller_identity
from hsm_enrol.host.state import Owner, note_pending
from hsm_enrol.host.voice import Voice
from hsm_enrol.settings import AssertionSettings, Settings
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.answer import Answer, open_answer, verify_answer
from hsm_enrol.wire.assertion import Assertion, sign_assertion
from hsm_enrol.wire.bundle import Bundle, check_bundle
from hsm_enrol.wire.keys import PublicJwk, public_from_pem
from hsm_enrol.wire.messages import Challenge
from hsm_enrol.wire.seal import SealPrivateKey, SealPublicKey, kem_available


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What one run wants to know. `have`: the serial installed here, None to get the bundle whatever is installed."""

    reason: str
    have: int | None
    pin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """A verified answer: which request it answers, and the bundle; None when nothing newer exists."""

    request: Assertion
    answer: Answer
    bundle: Bundle | None = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Asker:
    """Asks one verifier or several in the name of this instance. Claims and evidence are read anew for every try.

    For the first try they are read while the first challenge is on its way: neither waits for the other.
    """

    settings: Settings
    imds: Imds
    courier: Courier
    owner: Owner
    voice: Voice
    answer: Answer | None = field(default=None, init=False)  # once it is known to be the verifier's, and ours
    _seal: SealPrivateKey | None = field(default=None, init=False, repr=False)
    _read: tuple[Identity, float] | None = field(default=None, init=False, repr=False)
    _asked: Assertion | None = field(default=None, init=False, repr=False)

    def ask(self, question: Question, *, newest: int | None) -> Got:
        """Give the answer to `question`, checked by A1 to A7. `newest`: the installed serial, older ones are refused.

        Raises what IMDS and the courier raise; AnswerRejected, NotOpened, OlderSerial, ServerNotAllowed; KemMissing.
        """
        keys = answer_keys(self.settings)
        kem = self.settings.assertion.kem
        if not kem_available(kem):
            raise KemMissing(kem=kem)
        self.courier.begin()
        try:
            self._seal = SealPrivateKey.generate(kem)
            self._read = (self.imds.fetch_identity(), boottime())
            compact = self.courier.ask(lambda challenge, now: self._make(question, keys, challenge, now))
            return self._open(compact, keys, newest)
        finally:
            self._seal = self._read = None

    def _identity(self) -> Identity:
        """Give what IMDS says now; what was read a moment ago is used once."""
        read, self._read = self._read, None
        if read is not None and boottime() - read[1] <= FRESH:
            return read[0]
        return self.imds.fetch_identity()

    def _make(
        self, question: Question, keys: Sequence[ec.EllipticCurvePublicKey], challenge: Challenge, now: float
    ) -> Outgoing:
        seal = self._seal
        if seal is None:
            raise TypeError("a question without a seal key")
        identity = self._identity()
        request = make_assertion(
            identity,
            self.settings,
            self.owner,
            seal.public,
            keys=keys,
            question=question,
            challenge=challenge,
            now=now,
        )
        self._asked = request
        note_pending(
            self.settings.root,
            instance_id=request.sub,
            jti=request.jti,
            nonce=request.eat_nonce,
            owner=self.owner.thumbprint,
        )
        self.voice.know(assertion=request.jti)
        return Outgoing(
            compact=sign_assertion(request, self.owner.key),
            instance=request.sub,
            thumbprint=self.owner.thumbprint,
        )

    def _open(self, compact: bytes, keys: Sequence[ec.EllipticCurvePublicKey], newest: int | None) -> Got:
        request, seal = self._asked, self._seal
        if request is None or seal is None:
            raise TypeError("an answer without a question")
        try:
            answer = verify_answer(compact, keys)
            self.answer = answer if answer.jti == request.jti else None
            bundle = open_answer(answer, request, seal)
            if newest is not None and answer.serial < newest:
                raise OlderSerial(got=answer.serial, have=newest)
            if bundle is not None:
                check_bundle(bundle, int(time.time() + self.courier.offset))
        except WireError as error:
            raise AnswerRejected(rule=error.rule, what=error.what) from None
        except SealError:
            raise NotOpened from None
        if bundle is not None:
            check_allowed(bundle, self.settings.luna.allowed_servers)
        return Got(request=request, answer=answer, bundle=bundle)


def make_assertion(
    identity: Identity,
    settings: Settings,
    owner: Owner,
    seal: SealPublicKey,
    *,
    keys: Sequence[ec.EllipticCurvePublicKey],
    question: Question,
    challenge: Challenge,
    now: float,
) -> Assertion:
    """Make the assertion for one challenge, AWS's proof bound to it. `now`: Unix seconds by the verifier's clock."""
    wanted: AssertionSettings = settings.assertion
    bare = Assertion(
        aud=settings.verifier.audience,
        iat=int(now),
        jti=base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode("ascii"),
        eat_nonce=challenge.nonce,
        sub=identity.instance_id,
        cnf=owner.public,
        seal=seal,
        trust=tuple(PublicJwk.from_key(key).thumbprint for key in keys),
        instance=identity.instance,
        reason=question.reason,
        have=question.have,
        pin=question.pin,
        identity_role=None,
        iid=identity.rsa2048 if "iid" in wanted.evidence else None,
    )
    if "identity-role" not in wanted.evidence:
        return bare
    try:
        proof = sign_get_caller_identity(
            identity.credentials,
            region=identity.instance.region,
            endpoint=wanted.sts_endpoint,
            suffix=settings.imds.aws_dns_suffix or identity.domain,
            amz_date=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)),
            binding=bare.binding(),
        )
    except WireError as error:
        raise StsUnknown(region=identity.instance.region, what=error.what) from None
    return replace(bare, identity_role=proof)


def answer_keys(settings: Settings) -> tuple[ec.EllipticCurvePublicKey, ...]:
    """Read the pinned answer keys (A2), one that lies in two files once. Raises SettingsMissing, BadSettings."""
    found = {}
    for path in settings.verifier.answer_keys:
        data = files.read_file(below(settings.root, path), root=settings.root, limit=4096)
        if data is None:
            raise SettingsMissing(path=path, error="No such file or directory")
        try:
            key = public_from_pem(data)
        except WireError:
            better = "copy answer-key.pem as `hsm-verifier init` wrote it"
            raise BadSettings(path=path, line=1, what="not a P-256 public key in PEM", better=better) from None
        found[PublicJwk.from_key(key).thumbprint] = key
    return tuple(found.values())


def check_allowed(bundle: Bundle, allowed: Sequence[str]) -> None:
    """A7: every appliance is in the allow list, by name or network; an empty list allows all. ServerNotAllowed."""
    names = {one.lower() for one in allowed}
    for server in bundle.servers:
        if allowed and server.address.lower() not in names and not _in_a_network(server.address, allowed):
            raise ServerNotAllowed(address=server.address)


def _in_a_network(address: str, allowed: Sequence[str]) -> bool:
    try:
        place = ipaddress.ip_address(address)
    except ValueError:
        return False
    for one in allowed:
        try:
            network = ipaddress.ip_network(one)
        except ValueError:
            continue
        if place.version == network.version and place in network:
            return True
    return False
