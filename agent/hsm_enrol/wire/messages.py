"""Knows the unsigned messages, challenge and problem: written exactly, read openly (unknown members are ignored)."""

from __future__ import annotations

from typing import Any

from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.answer import MAX_ANSWER
from hsm_enrol.wire.assertion import AUDIENCE, MAX_ASSERTION, NONCE, PROFILE
from hsm_enrol.wire.bundle import MAX_BUNDLE
from hsm_enrol.wire.keys import THUMBPRINT
from hsm_enrol.wire.seal import KEMS
from hsm_enrol.wire.strict import Fields, dump_json, parse_json

__all__ = ["MAX_ANSWER", "MAX_ASSERTION", "MAX_BUNDLE", "MAX_PROBLEM", "Challenge", "Problem"]

ASSERTION_TYPE = "application/eat+jwt"
ANSWER_TYPE = "application/jose"
RECEIPT_TYPE = "application/jwt"
PROBLEM_TYPE = "application/problem+json"
JSON_TYPE = "application/json"
MAX_PROBLEM = 8 * 1024

EVIDENCE = ("identity-role", "iid")
REASONS = (
    "malformed",
    "unsupported",
    "nonce_stale",
    "clock_skew",
    "evidence_missing",
    "evidence_invalid",
    "not_admitted",
    "already_enrolled",
    "too_large",
    "busy",
    "not_visible_yet",
    "upstream_busy",
    "hold",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A nonce, how many seconds it lives, the verifier's time; all the rest is for `check` and error texts only.

    `answer_keys` are the kids that this verifier signs with, `audience` its ledger's name; either may be absent.
    """

    nonce: str
    expires_in: int
    server_time: int
    evidence: tuple[str, ...] = EVIDENCE
    kems: tuple[str, ...] = KEMS
    profiles: tuple[str, ...] = (PROFILE,)
    answer_keys: tuple[str, ...] = ()
    audience: str | None = None

    def to_bytes(self) -> bytes:
        """Write it."""
        found: dict[str, Any] = {
            "nonce": self.nonce,
            "expires_in": self.expires_in,
            "server_time": self.server_time,
            "evidence": list(self.evidence),
            "kems": list(self.kems),
            "profiles": list(self.profiles),
        }
        if self.answer_keys:
            found["answer_keys"] = list(self.answer_keys)
        if self.audience is not None:
            found["audience"] = self.audience
        return dump_json(found)

    @classmethod
    def from_bytes(cls, data: bytes) -> Challenge:
        """Read it; members that we do not know are ignored. Raises WireError."""
        fields = Fields(parse_json(data), "challenge")
        words = r"[A-Za-z0-9:,/._-]{1,64}"
        return cls(
            nonce=fields.text("nonce", NONCE),
            expires_in=fields.integer("expires_in"),
            server_time=fields.integer("server_time"),
            evidence=fields.texts("evidence", words, 0, 16),
            kems=fields.texts("kems", words, 0, 16),
            profiles=fields.texts("profiles", words, 0, 16),
            answer_keys=fields.texts("answer_keys", THUMBPRINT, 1, 16) if fields.has("answer_keys") else (),
            audience=fields.optional_text("audience", AUDIENCE),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """RFC 9457 with a `reason`; `detail` is free text for people, to be printed escaped."""

    reason: str
    status: int
    detail: str = ""
    decision: str | None = None
    server_time: int | None = None

    def to_bytes(self) -> bytes:
        """Write it; absent members are absent."""
        found: dict[str, Any] = {
            "type": "about:blank",
            "title": self.reason.replace("_", " "),
            "reason": self.reason,
            "status": self.status,
        }
        if self.detail:
            found["detail"] = self.detail
        if self.decision is not None:
            found["decision"] = self.decision
        if self.server_time is not None:
            found["server_time"] = self.server_time
        return dump_json(found)

    @classmethod
    def from_bytes(cls, data: bytes) -> Problem:
        """Read it; unknown members are ignored, an unknown reason is kept: the asker comes back later. WireError."""
        fields = Fields(parse_json(data), "problem")
        return cls(
            reason=fields.text("reason", r"[a-z_]{1,40}"),
            status=fields.integer("status", least=100, most=599),
            detail=_text(fields, "detail"),
            decision=fields.optional_text("decision", r"[A-Za-z0-9_-]{1,64}"),
            server_time=fields.integer("server_time") if fields.has("server_time") else None,
        )


def _text(fields: Fields, name: str) -> str:
    if not fields.has(name):
        return ""
    value = fields.take(name)
    if not isinstance(value, str):
        raise fields.fault(name)
    return value
