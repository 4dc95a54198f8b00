"""Knows how the asserting party tells how it went: signed by the owner key, checked before it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from hsm_enrol.errors import WireError
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire import jws
from hsm_enrol.wire.assertion import AUDIENCE, INSTANCE_ID, JTI, NONCE
from hsm_enrol.wire.keys import PublicJwk
from hsm_enrol.wire.strict import Fields, dump_json, parse_json

RESULTS = ("trying", "installed", "failed")
CODES = (
    "answer_rejected",
    "cannot_write",
    "tool_failed",
    "no_slots",
    "pin_refused",
    "not_converged",
    "interrupted",
)
PINS = ("unused", "untried", "accepted", "refused")
MAX_RECEIPT = 8 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of an answer. `nonce` is the answer's; `code` says why, with `failed` only."""

    aud: str
    sub: str
    jti: str
    nonce: str
    serial: int
    result: str
    code: str | None
    pin: str

    def to_payload(self) -> bytes:
        """Give the payload's bytes."""
        found: dict[str, Any] = {
            "aud": self.aud,
            "sub": self.sub,
            "jti": self.jti,
            "nonce": self.nonce,
            "serial": self.serial,
            "result": self.result,
            "pin": self.pin,
        }
        if self.code is not None:
            found["code"] = self.code
        return dump_json(found)

    @classmethod
    def from_payload(cls, payload: bytes) -> Receipt:
        """Read a payload by the closed schema. Raises WireError."""
        fields = Fields(parse_json(payload), "receipt", "V2")
        found = cls(
            aud=fields.text("aud", AUDIENCE),
            sub=fields.text("sub", INSTANCE_ID),
            jti=fields.text("jti", JTI),
            nonce=fields.text("nonce", NONCE),
            serial=fields.integer("serial", least=1),
            result=fields.word("result", *RESULTS),
            code=fields.word("code", *CODES) if fields.has("code") else None,
            pin=fields.word("pin", *PINS),
        )
        fields.nothing_else()
        if found.code is not None and found.result != "failed":
            raise fields.fault("code")
        return found


def sign_receipt(receipt: Receipt, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Sign with the owner key."""
    return jws.sign(jws.RECEIPT_HEADER, receipt.to_payload(), key)


def verify_receipt(compact: bytes, owner_of: Callable[[str, int], PublicJwk | None]) -> Receipt | None:
    """Read a receipt and check it by the owner key of its slot, which `owner_of(sub, serial)` looks up.

    None for "no slot" and for "not the owner" alike (both are 404). As with an assertion (E5) the payload is parsed
    once, before its signature is checked, only to learn whose key that has to be. Raises WireError.
    """
    if len(compact) > MAX_RECEIPT:
        raise WireError("V1", "receipt is too large")
    signed, payload, signature = jws.split(compact, jws.RECEIPT_HEADER)
    receipt = Receipt.from_payload(payload)
    owner = owner_of(receipt.sub, receipt.serial)
    if owner is None:
        return None
    try:
        jws.check(signed, signature, owner.key())
    except WireError:
        return None
    return receipt
