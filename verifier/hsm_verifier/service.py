"""Knows how to answer one message: decide, write the audit line, word the reply.

Nothing is sent before decision and audit line are durable. Each message is a turn (turns.py); knows nothing of HTTP but
status numbers and media types.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from hsm_enrol.errors import WireError
from hsm_enrol.wire.keys import PublicJwk
from hsm_enrol.wire.messages import ANSWER_TYPE, JSON_TYPE, PROBLEM_TYPE, Challenge, Problem
from hsm_enrol.wire.receipt import Receipt, verify_receipt
from hsm_verifier.counts import Counts
from hsm_verifier.decide import decide, translate
from hsm_verifier.ledger.receipts import Note, note, owner_jwk
from hsm_verifier.nonce import LIFE
from hsm_verifier.refusal import Refusal
from hsm_verifier.vault import VaultError
from hsm_verifier.world import Trail, World

if TYPE_CHECKING:
    from hsm_verifier.ports import Audit

TEXTS = {
    "malformed": "the message breaks the protocol",
    "unsupported": "audience, profile, kem or answer key is not ours",
    "nonce_stale": "ask for a new challenge",
    "clock_skew": "your clock differs from ours",
    "evidence_missing": "stronger evidence is required",
    "evidence_invalid": "the evidence was not accepted",
    "not_admitted": "policy does not admit this instance",
    "already_enrolled": "this instance was served before; an operator can grant another time",
    "too_large": "the message is too large",
    "busy": "too many requests",
    "not_visible_yet": "AWS does not show this instance yet",
    "upstream_busy": "something this verifier depends on is not available",
    "hold": "another instance tries the new PIN first",
}
"""One sentence for people a reason; never more, whatever the cause."""

E = TypeVar("E", bound=BaseException)
_log = logging.getLogger("hsm_verifier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What goes back: `retry_after` in seconds, `close` when the connection must not be used again."""

    status: int
    kind: str
    body: bytes
    retry_after: float | None = None
    close: bool = False


class Service:
    """Answers challenges, assertions and receipts for one World, and audits the last two."""

    def __init__(self, world: World, audit: Audit) -> None:
        """Read the challenge's lists from the policy once."""
        self._world = world
        self._audit = audit
        self.counts = Counts()
        groups = [world.policy.group(name) for name in world.policy.names()]
        self._evidence = tuple(sorted({group.level for group in groups}))
        self._kems = tuple(sorted({kem for group in groups for kem in group.kems}))

    def challenge(self) -> Reply:
        """Give a fresh nonce; waits for nobody, writes nothing."""
        now = self._world.clock()
        told = Challenge(
            nonce=self._world.nonces.make(now),
            expires_in=int(LIFE),
            server_time=int(now),
            evidence=self._evidence,
            kems=self._kems,
            answer_keys=self._world.keys.kids,
            audience=self._world.audience,
        )
        return Reply(status=200, kind=JSON_TYPE, body=told.to_bytes())

    def enrol(self, body: bytes, source: str) -> Reply:
        """Decide one assertion (V2 to V15)."""
        trail = Trail()

        def work() -> Reply:
            return Reply(status=200, kind=ANSWER_TYPE, body=decide(body, source, self._world, trail))

        return self._answer("enrolment", source, trail, work)

    def receipt(self, body: bytes, source: str) -> Reply:
        """Note how an answer fared: 204 for the owner, 404 for anyone else."""
        trail = Trail(proved=True)

        def work() -> Reply:
            told, owner = self._read_receipt(body)
            trail.facts |= {
                "instance": told.sub,
                "jti": told.jti,
                "serial": told.serial,
                "result": told.result,
                "code": told.code,
                "pin_told": told.pin,
            }
            receipt = Note(
                instance_id=told.sub,
                owner=owner.thumbprint,
                serial=told.serial,
                nonce=told.nonce,
                result=told.result,
                code=told.code,
                pin=told.pin,
            )
            noted = self._world.clerk.write(lambda store: note(store, receipt))
            trail.alarm |= noted.alarm
            trail.facts["effect"] = list(noted.effect)
            return Reply(status=204, kind="", body=b"")

        return self._answer("receipt", source, trail, work)

    def refuse(self, event: str, source: str, refusal: Refusal, *, close: bool = True) -> Reply:
        """Word a refusal that was decided before the message was read (V1); not audited line by line, only logged.

        `close`: a body was left unread. Where there is none the connection stays, which saves both a handshake.
        """
        decision = secrets.token_hex(6)
        self.counts.turn_away(event, refusal.reason)
        _log.info("%s from %s refused: %s decision=%s", event, source, refusal.detail, decision)
        return self._problem(refusal, decision, close=close)

    def _answer(self, event: str, source: str, trail: Trail, work: Callable[[], Reply]) -> Reply:
        decision, began = secrets.token_hex(6), time.monotonic()
        told: Refusal | None = None
        try:
            reply = work()
        except Refusal as refusal:
            told = let_go(refusal)
        except VaultError as error:
            told = translate(let_go(error))
        except Exception as error:  # noqa: BLE001  the edge: a bug is one failed decision, logged and alarmed
            _log.exception("decision %s failed", decision)
            told = Refusal("busy", f"V0 {type(let_go(error)).__name__}", status=503, alarm=True)
        if told is not None:
            heard = told if trail.proved else told.as_heard_early()
            reply = self._problem(heard, decision, close=False)
        try:
            self._write(event, trail, told, source=source, decision=decision, status=reply.status)
        except Exception:  # noqa: BLE001  whatever it was: without its line nothing is sent
            _log.exception("decision %s could not be audited; it is not sent", decision)
            told = Refusal("busy", "V15 audit_unavailable", status=503, alarm=True)
            reply = self._problem(told, decision, close=False)
        self.counts.decided(
            event,
            "answered" if told is None else "refused",
            "" if told is None else told.reason,
            seconds=time.monotonic() - began,
            alarm=_is_alarm(trail, told),
        )
        return reply

    def _write(
        self, event: str, trail: Trail, told: Refusal | None, *, source: str, decision: str, status: int
    ) -> None:
        alarm = _is_alarm(trail, told)
        facts = {
            "decision": decision,
            "outcome": "answered" if told is None else "refused",
            "source": source,
            **trail.facts,
            "status": status,
            "reason": told.reason if told else None,
            "detail": told.detail if told else None,
            "mismatches": trail.facts.get("mismatches")
            or (list(told.mismatches) if told and told.mismatches else None),
            "alarm": alarm or None,
        }
        self._audit.write(event, self._world.clock(), **facts)
        _log.log(
            logging.WARNING if alarm else logging.INFO,
            "%s %s instance=%s reason=%s detail=%s decision=%s",
            event,
            facts["outcome"],
            trail.facts.get("instance", "-"),
            facts["reason"] or "-",
            facts["detail"] or trail.facts.get("how", "-"),
            decision,
        )

    def _problem(self, heard: Refusal, decision: str, *, close: bool) -> Reply:
        told = Problem(
            reason=heard.reason,
            status=heard.status,
            detail=TEXTS[heard.reason],
            decision=decision,
            server_time=int(self._world.clock()) if heard.server_time else None,
        )
        return Reply(
            status=heard.status, kind=PROBLEM_TYPE, body=told.to_bytes(), retry_after=heard.retry_after, close=close
        )

    def _read_receipt(self, body: bytes) -> tuple[Receipt, PublicJwk]:
        """Give a receipt and the owner who signed it; whether that is the owner still is `note`'s to find out."""
        owner: PublicJwk | None = None

        def owner_of(instance_id: str, serial: int) -> PublicJwk | None:
            nonlocal owner
            text = self._world.clerk.read(lambda store: owner_jwk(store, instance_id, serial))
            owner = None if text is None else PublicJwk.from_json(json.loads(text))
            return owner

        try:
            told = verify_receipt(body, owner_of)
        except WireError as error:
            raise Refusal("malformed", f"R {error.rule} {error.what}") from None
        if told is None or owner is None:
            raise Refusal("not_admitted", "R not_owner_or_no_slot", status=404)
        if told.aud != self._world.audience:
            raise Refusal("unsupported", "R audience")
        return told, owner


def let_go(error: E) -> E:
    """Give it without the frames that it and what led to it went through: they hold what was asked and what was found.

    Often one of them holds the error too. Then they would keep each other until Python's collector comes by.
    """
    one: BaseException | None = error
    while one is not None:
        before = one.__context__
        one.__traceback__ = one.__cause__ = one.__context__ = None
        one = before
    return error


def _is_alarm(trail: Trail, told: Refusal | None) -> bool:
    return trail.alarm or (told is not None and told.alarm)
