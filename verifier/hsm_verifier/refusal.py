"""Knows how a request is turned away: what the asker hears, and what the operator reads in the audit.

The asker gets a reason out of a closed list and a decision id. Which check failed and on what (`detail`) is for the
audit alone: telling it to an asker that AWS has not vouched for would teach an attacker what to change.
"""

from __future__ import annotations

from typing import Final

STATUS: Final = {
    "malformed": 400,
    "unsupported": 400,
    "nonce_stale": 400,
    "clock_skew": 400,
    "evidence_missing": 403,
    "evidence_invalid": 403,
    "not_admitted": 403,
    "already_enrolled": 409,
    "too_large": 413,
    "busy": 429,
    "not_visible_yet": 503,
    "upstream_busy": 503,
    "hold": 503,
}
"""HTTP status of each reason (docs/protocol.md, "Problems")."""

LATER: Final = frozenset({"busy", "not_visible_yet", "upstream_busy", "hold"})
"""Reasons that mean "the same request may succeed later" and carry Retry-After."""

SAYABLE_EARLY: Final = frozenset(
    {
        "malformed",
        "unsupported",
        "nonce_stale",
        "clock_skew",
        "evidence_missing",
        "evidence_invalid",
        "too_large",
        "busy",
        # Not in the protocol's first list, but V8 itself may meet a throttled STS: it says nothing about the instance.
        "upstream_busy",
    }
)
"""What may be said before V8 has passed; anything else would tell strangers about instances and policy."""

DEFAULT_RETRY_AFTER: Final = 5.0  # seconds


class Refusal(Exception):
    """One refused request.

    `reason` is a key of STATUS. `detail` is the check's number and a fixed slug ("V8 arn_differs"); it is written to
    the audit and never sent, so it may name fields but never values that came from outside. `mismatches` are the
    fields that differed, each "field: policy's word". `retry_after` is seconds, given for reasons of LATER (a default
    stands in). `alarm` marks the audit line as one that a person should see.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        retry_after: float | None = None,
        alarm: bool = False,
        status: int | None = None,
        mismatches: tuple[str, ...] = (),
    ) -> None:
        """Raise KeyError for a reason that the protocol does not have."""
        self.reason = reason
        self.detail = detail
        self.status = STATUS[reason] if status is None else status
        self.retry_after = retry_after if retry_after is not None or reason not in LATER else DEFAULT_RETRY_AFTER
        self.alarm = alarm
        self.mismatches = mismatches
        super().__init__(f"{reason} ({detail})")

    @property
    def server_time(self) -> bool:
        """Tell whether the problem carries this party's clock: the asker's own is wrong."""
        return self.reason == "clock_skew"

    def as_heard_early(self) -> Refusal:
        """Give what a stranger hears of this: itself if sayable before V8, else a word that tells nothing more."""
        if self.reason in SAYABLE_EARLY:
            return self
        heard = "busy" if self.reason in LATER else "evidence_invalid"
        return Refusal(heard, self.detail, retry_after=self.retry_after, alarm=self.alarm, mismatches=self.mismatches)
