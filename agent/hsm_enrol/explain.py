"""Knows what each word means to an operator who met it: exit statuses, reasons, message ids, a verifier's words.

Our own faults are worded in errors/, what goes well in events.py; here are only the verifier's reasons
(docs/protocol.md, "Reasons"), and the way from a word to its explanation.
"""

from __future__ import annotations

import string

from hsm_enrol.errors import STATUSES, EnrolError, catalogue
from hsm_enrol.events import EVENTS, Event
from hsm_enrol.shapes import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One meaning of a word. `kind`: `status`, `fault`, `event` or `verifier`; what does not apply is "" or None.

    Facts that only an occurrence has stand in capitals. `reasons` are the words behind an exit status.
    """

    word: str
    kind: str
    happened: str
    do: str = ""
    then: str = ""
    status: int | None = None
    message_id: str = ""
    reasons: tuple[str, ...] = ()


def _verifier(word: str, status: int, happened: str, do: str, then: str) -> Explained:
    return Explained(word=word, kind="verifier", happened=happened, do=do, then=then, status=status)


AUDIT = "hsm-verifier audit find DECISION"
VERIFIERS_WORDS = (
    _verifier(
        "malformed",
        77,
        "the verifier could not read what this agent sent: it breaks the protocol",
        "agent and verifier are of different versions, or something between them changes what is sent",
        "hsm-enrol check",
    ),
    _verifier(
        "unsupported",
        77,
        "audience, profile, kem or answer key that this host names is not the verifier's",
        "compare verifier.audience and the answer key with what `hsm-verifier init` made; `check` names the one",
        "hsm-enrol check",
    ),
    _verifier(
        "nonce_stale",
        75,
        "the challenge was too old, or the verifier was restarted in between",
        "nothing: it is asked again at once; when it stays, requests take minutes to get there",
        "hsm-enrol -v enrol",
    ),
    _verifier(
        "clock_skew",
        75,
        "the verifier, or AWS, finds the proof dated wrongly",
        "nothing: it is made again by the verifier's clock; when it stays, the verifier's own clock is wrong",
        "timedatectl",
    ),
    _verifier(
        "evidence_missing",
        77,
        "the group's policy wants stronger evidence than this host sends",
        "put it into assertion.evidence, or lower the group's level in the verifier's policy",
        "hsm-enrol assertion",
    ),
    _verifier(
        "evidence_invalid",
        77,
        "AWS does not vouch for this instance, or what it vouches for differs from what was claimed",
        "the verifier's audit says which check failed; a stranger, and so this host, is not told",
        AUDIT,
    ),
    _verifier(
        "not_admitted",
        77,
        "AWS vouches for this instance, and the verifier's policy admits no such instance",
        "the audit names the fields that differ: account, region, role, image, launch window or the like",
        AUDIT,
    ),
    _verifier(
        "already_enrolled",
        77,
        "this instance was served before, perhaps to another owner key: a rebuilt disk, or somebody else on this host",
        "find out who it was; if it was this host, the verifier's operator grants it another time",
        "hsm-verifier grant INSTANCE --reason WHY",
    ),
    _verifier(
        "too_large",
        77,
        "what was sent is larger than the verifier reads",
        "something between the two adds to it; no assertion of this agent is that large",
        "hsm-enrol check",
    ),
    _verifier(
        "busy",
        75,
        "the verifier has more to do than it takes on, or hears too much from this address",
        "nothing: it is asked again; list a shared NAT or balancer in the verifier's settings when it stays",
        "hsm-enrol enrol",
    ),
    _verifier(
        "not_visible_yet",
        75,
        "AWS's API does not show this instance yet: it was launched moments ago",
        "nothing: it is asked again",
        "hsm-enrol enrol",
    ),
    _verifier(
        "upstream_busy",
        75,
        "something the verifier depends on is away or throttles it: STS, the EC2 API, ledger or vault",
        "nothing on this host; the verifier's audit names the cause, with an alarm when it is its own permissions",
        AUDIT,
    ),
    _verifier(
        "hold",
        75,
        "the group has a new PIN, and one instance tries it before the others get it",
        "nothing, for a few minutes; when a try failed the gate is halted until somebody corrects the PIN",
        "hsm-verifier bundle show --group GROUP",
    ),
)


def explain(word: str) -> tuple[Explained, ...]:
    """Give every meaning of an exit status, a reason or a message id; () when it is none of ours."""
    if word.isdecimal():
        return tuple(_of_status(status) for status in STATUSES if str(status) == word)
    name = word.lower().replace("-", "_")
    faults = [_of_fault(kind) for kind in catalogue() if name in {kind.reason, kind.message_id}]
    events = [_of_event(event) for event in EVENTS if name in {event.message_id, event.word}]
    return (*faults, *events, *(one for one in VERIFIERS_WORDS if one.word == name))


def words() -> tuple[str, ...]:
    """Give every word that can be explained, message ids left out."""
    reasons = [kind.reason for kind in catalogue()] + [one.word for one in VERIFIERS_WORDS]
    return tuple(dict.fromkeys([*map(str, STATUSES), *reasons, *(event.word for event in EVENTS)]))


def filled(template: str) -> str:
    """Turn `{fact}` into FACT: what stands there is known only when it happens."""
    parts = string.Formatter().parse(template)
    return "".join(text + (name.upper() if name else "") for text, name, _, _ in parts)


def _of_status(status: int) -> Explained:
    reasons = tuple(kind.reason for kind in catalogue() if kind.status == status)
    then = "hsm-enrol explain REASON" if reasons else "hsm-enrol status" if status else ""
    return Explained(
        word=str(status), kind="status", happened=STATUSES[status], then=then, status=status, reasons=reasons
    )


def _of_fault(kind: type[EnrolError]) -> Explained:
    return Explained(
        word=kind.reason,
        kind="fault",
        happened=filled(kind.says),
        do=filled(kind.hint),
        then=filled(kind.then),
        status=kind.status,
        message_id=kind.message_id,
    )


def _of_event(event: Event) -> Explained:
    return Explained(
        word=event.word,
        kind="event",
        happened=filled(event.subject),
        do=filled(event.text),
        message_id=event.message_id,
    )
