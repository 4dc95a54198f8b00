"""Knows whether each verifier can be reached, is the right one, and would understand this host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hsm_enrol.checks.finding import Finding, fail, of_error, of_expiry, ok, warn
from hsm_enrol.errors import EnrolError
from hsm_enrol.settings import Settings
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.assertion import PROFILE
from hsm_enrol.wire.messages import Challenge

_LEVELS = {"fields": (), "iid": ("iid",), "identity-role": ("identity-role",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What one verifier said to the question for a challenge, or why it said nothing.

    `offset`: seconds its clock is ahead of ours. `until`: when its TLS certificate expires (Unix seconds), None where
    that could not be seen, as behind a proxy.
    """

    url: str
    heard: Challenge | EnrolError
    offset: float = 0.0
    until: float | None = None


def judge(seen: Sequence[Greeting], settings: Settings, kids: Sequence[str], now: float) -> Iterator[Finding]:
    """Give the findings. `kids` are the pinned answer keys' names, () when they could not be read."""
    answered = [one for one in seen if isinstance(one.heard, Challenge)]
    for one in seen:
        if isinstance(one.heard, EnrolError):
            # One that is away is no fault as long as another answers.
            yield of_error("verifier", one.heard, level="warn" if answered else "fail")
        else:
            yield from _judge_one(one, one.heard, settings, kids, now)


def _judge_one(
    one: Greeting, heard: Challenge, settings: Settings, kids: Sequence[str], now: float
) -> Iterator[Finding]:
    yield ok("verifier", f"{one.url} answers, by a certificate of the right CA")
    if one.offset:
        hint = "proofs are made by the verifier's time, so this is no fault; is chrony or timesyncd running?"
        where = "behind" if one.offset > 0 else "ahead of"
        yield warn("clock", f"this machine's clock is {abs(one.offset):.0f} s {where} that of {one.url}", hint)
    else:
        yield ok("clock", f"the clock agrees with that of {one.url}")
    if one.until is not None:
        yield of_expiry("verifier", f"the TLS certificate of {one.url}", one.until, now, "renew it at the verifier")
    yield from _agreement(one.url, heard, settings, kids)


def _agreement(url: str, heard: Challenge, settings: Settings, kids: Sequence[str]) -> Iterator[Finding]:
    """Compare what it says of itself with the settings. What it does not say cannot be compared."""
    if heard.answer_keys and kids:
        if not set(heard.answer_keys) & set(kids):
            hint = "copy answer-key.pem from the verifier, and compare it over another channel"
            yield fail("answer keys", f"none of the pinned answer keys is one that {url} signs with", hint)
        else:
            yield ok("answer keys", f"{url} signs with a pinned one")
    if heard.audience is not None and heard.audience != settings.verifier.audience:
        hint = "copy the line that `hsm-verifier init` printed into verifier.audience"
        yield fail("audience", f"{url} answers for another audience than the settings name", hint)
    if PROFILE not in heard.profiles:
        hint = "upgrade verifiers first, then agents"
        yield fail("versions", f"{url} does not read assertions of this agent's version", hint)
    if settings.assertion.kem not in heard.kems:
        hint = f"it takes: {', '.join(heard.kems) or 'none'}; set assertion.kem, or allow this one in its policy"
        yield fail("kem", f"no group of {url} takes {settings.assertion.kem}", hint)
    if not any(set(_LEVELS.get(level, ("?",))) <= set(settings.assertion.evidence) for level in heard.evidence):
        hint = f"its groups want: {', '.join(heard.evidence) or 'none'}; set assertion.evidence"
        yield fail("evidence", f"no group of {url} is content with the evidence that is sent", hint)
