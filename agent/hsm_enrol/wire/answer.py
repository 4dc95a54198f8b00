"""Knows the verifying party's answer: who may sign it, that it is about our request, how it opens (A2 to A5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from hsm_enrol.errors import WireError
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire import jws
from hsm_enrol.wire.assertion import AUDIENCE, INSTANCE_ID, JTI, NONCE, Assertion
from hsm_enrol.wire.bundle import MAX_BUNDLE, Bundle
from hsm_enrol.wire.keys import THUMBPRINT, PublicJwk
from hsm_enrol.wire.seal import KEMS, SealPrivateKey, answer_info
from hsm_enrol.wire.strict import Fields, b64u_decode, b64u_encode, dump_json, parse_json

MAX_ANSWER = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer's payload. `state` is `bundle` (with kem, seal_thumbprint and sealed) or `current` (without)."""

    jti: str
    sub: str
    aud: str
    nonce: str
    iat: int
    serial: int
    state: str
    trial: bool
    kem: str | None
    seal_thumbprint: str | None
    sealed: bytes | None = field(repr=False)

    def to_payload(self) -> bytes:
        """Give the payload's bytes; absent members are absent."""
        found: dict[str, Any] = {
            "jti": self.jti,
            "sub": self.sub,
            "aud": self.aud,
            "nonce": self.nonce,
            "iat": self.iat,
            "serial": self.serial,
            "state": self.state,
        }
        if self.trial:
            found["trial"] = True
        if self.sealed is not None:
            found |= {"kem": self.kem, "seal_thumbprint": self.seal_thumbprint, "sealed": b64u_encode(self.sealed)}
        return dump_json(found)

    @classmethod
    def from_payload(cls, payload: bytes) -> Answer:
        """Read a payload whose signature was verified. Raises WireError("A3", …)."""
        fields = Fields(parse_json(payload), "answer", "A3")
        state = fields.word("state", "bundle", "current")
        sealed, said_trial = state == "bundle", fields.has("trial")
        found = cls(
            jti=fields.text("jti", JTI),
            sub=fields.text("sub", INSTANCE_ID),
            aud=fields.text("aud", AUDIENCE),
            nonce=fields.text("nonce", NONCE),
            iat=fields.integer("iat"),
            serial=fields.integer("serial", least=1),
            state=state,
            trial=fields.boolean("trial") if fields.has("trial") else False,  # false has one spelling: absent
            kem=fields.word("kem", *KEMS) if sealed else None,
            seal_thumbprint=fields.text("seal_thumbprint", THUMBPRINT) if sealed else None,
            sealed=b64u_decode(fields.text("sealed", r"[A-Za-z0-9_-]+"), "sealed") if sealed else None,
        )
        fields.nothing_else()
        if said_trial and not (found.trial and sealed):
            raise fields.fault("trial")
        return found


def make_answer(
    request: Assertion, *, serial: int, iat: int, bundle: bytes | None, trial: bool, key: ec.EllipticCurvePrivateKey
) -> bytes:
    """Seal `bundle` (a Bundle's bytes) to the request's seal key and sign; None says that `serial` is current.

    Raises WireError A5 for a bundle that no asking party would take for its size.
    """
    sealed = None
    if bundle is not None and len(bundle) > MAX_BUNDLE:
        raise WireError("A5", "bundle is too large")
    if bundle is not None:
        info = answer_info(
            aud=request.aud,
            jti=request.jti,
            nonce=request.eat_nonce,
            sub=request.sub,
            serial=serial,
            thumbprint=request.seal.thumbprint,
        )
        sealed = request.seal.seal(bundle, info)
    answer = Answer(
        jti=request.jti,
        sub=request.sub,
        aud=request.aud,
        nonce=request.eat_nonce,
        iat=iat,
        serial=serial,
        state="current" if sealed is None else "bundle",
        trial=trial and sealed is not None,
        kem=None if sealed is None else request.seal.kem,
        seal_thumbprint=None if sealed is None else request.seal.thumbprint,
        sealed=sealed,
    )
    kid = PublicJwk.from_key(key.public_key()).thumbprint
    return jws.sign(jws.answer_header(kid), answer.to_payload(), key)


def verify_answer(compact: bytes, keys: Sequence[ec.EllipticCurvePublicKey]) -> Answer:
    """A2: the answer is signed by one of the pinned answer keys; which one, its header says, compared as bytes."""
    if len(compact) > MAX_ANSWER:
        raise WireError("A1", "answer is too large")
    for key in keys:
        header = jws.answer_header(PublicJwk.from_key(key).thumbprint)
        if compact.startswith(b64u_encode(header).encode("ascii") + b"."):
            return Answer.from_payload(jws.verify(compact, header, key))
    raise WireError("A2", "not signed by a pinned answer key")


def open_answer(answer: Answer, request: Assertion, seal_key: SealPrivateKey) -> Bundle | None:
    """A3, A4, A5: the answer is about the request just sent, opens with its seal key, and holds a bundle.

    None when the answer says `current`. Raises WireError, SealError. Whether the serial is old enough news is for the
    caller, who knows what is installed.
    """
    same = {
        "jti": (answer.jti, request.jti),
        "sub": (answer.sub, request.sub),
        "aud": (answer.aud, request.aud),
        "nonce": (answer.nonce, request.eat_nonce),
    }
    if answer.sealed is not None:
        same["kem"] = (answer.kem or "", request.seal.kem)
        same["seal_thumbprint"] = (answer.seal_thumbprint or "", request.seal.thumbprint)
    for name, (got, sent) in same.items():
        if got != sent:
            raise WireError("A3", f"{name} is not the request's")
    if answer.sealed is None:
        return None
    info = answer_info(
        aud=answer.aud,
        jti=answer.jti,
        nonce=answer.nonce,
        sub=answer.sub,
        serial=answer.serial,
        thumbprint=request.seal.thumbprint,
    )
    bundle = Bundle.from_bytes(seal_key.open(answer.sealed, info))
    if bundle.serial != answer.serial:
        raise WireError("A5", "serial is not the answer's")
    return bundle
