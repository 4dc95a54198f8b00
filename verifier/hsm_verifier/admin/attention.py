"""Knows what an operator must not overlook, most urgent first; an empty list is a quiet night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hsm_verifier.admin.words import span
from hsm_verifier.ledger.desk import GateLine

if TYPE_CHECKING:
    from hsm_verifier.admin.office import Office
    from hsm_verifier.admin.recent import Told
    from hsm_verifier.published import Published

DAY = 86400.0
SOON = 30 * DAY  # a certificate that ends within this wants a new one now: appliances must know it first


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing: how bad (bad, warn), a sentence, where to go on and what that is called."""

    weight: str
    sentence: str
    address: str
    action: str


def notices(
    office: Office,
    bundles: Sequence[Published],
    gates: Sequence[GateLine],
    *,
    broken: Mapping[str, str],
    mode: str,
    overdue: int,
    lines: Sequence[Told],
    now: float,
) -> tuple[Notice, ...]:
    """Give all of them; `now` in Unix seconds."""
    found = [*_gates(bundles, gates), *_certificates(office, bundles, now)]
    if mode != "open":
        sentence = "Operator mode: newcomers are served only with a grant, until `hsm-verifier ledger mode open`"
        found.append(Notice(weight="bad", sentence=sentence, address="", action=""))
    found += [
        Notice(weight="bad", sentence=f"The bundle of group {group} cannot be used: {why}", address="", action="")
        for group, why in broken.items()
    ]
    published = {*broken, *(one.group for one in bundles)}
    found += [
        Notice(weight="bad", sentence=f"Nothing is published for group {name}", address="", action="")
        for name in office.bundle_names()
        if name not in published
    ]
    if overdue:
        sentence = f"{overdue} instance{'s' * (overdue != 1)} took a bundle more than 7 days ago and never confirmed it"
        found.append(Notice(weight="warn", sentence=sentence, address="/?overdue=1#instances", action="Show"))
    alarms = sum(one.alarm and one.time > now - DAY for one in lines)
    if alarms:
        sentence = f"{alarms} alarm{'s' * (alarms != 1)} in the last 24 hours"
        found.append(Notice(weight="warn", sentence=sentence, address="/decisions?only=alarms", action="Show"))
    return tuple(sorted(found, key=lambda one: one.weight))


def of_these(bundles: Sequence[Published], gates: Sequence[GateLine]) -> tuple[GateLine, ...]:
    """Give the gates that bundles have: an older bundle's holds nobody back any more, whatever became of its PIN."""
    keys = {(one.pin_id, ",".join(one.members)) for one in bundles}
    return tuple(gate for gate in gates if (gate.pin_id, gate.members) in keys)


def _gates(bundles: Sequence[Published], gates: Sequence[GateLine]) -> list[Notice]:
    groups = {(one.pin_id, ",".join(one.members)): one.group for one in bundles}
    found = []
    for gate in of_these(bundles, gates):
        if gate.state == "HALTED":
            group = groups[(gate.pin_id, gate.members)]
            sentence = f"The PIN of group {group} was refused: the release gate is halted and new instances wait"
            found.append(
                Notice(weight="bad", sentence=sentence, address=f"/gates/{gate.pin_id}/resume", action="Resume…")
            )
    return found


def _certificates(office: Office, bundles: Sequence[Published], now: float) -> list[Notice]:
    found = []
    for one in bundles:
        ends = [(one.certificate.not_after, f"The client certificate of group {one.group}")]
        ends += [(s.certificate.not_after, f"The certificate of {s.address} in group {one.group}") for s in one.servers]
        found += [notice for when, what in ends if (notice := _ending(what, when, now))]
    if office.tls_not_after is not None and (
        notice := _ending("This server's own TLS certificate", office.tls_not_after, now)
    ):
        found.append(notice)
    return found


def _ending(what: str, when: float, now: float) -> Notice | None:
    if when <= now:
        return Notice(weight="bad", sentence=f"{what} ended {span(now - when)} ago", address="", action="")
    if when - now < SOON:
        return Notice(weight="warn", sentence=f"{what} ends in {span(when - now)}", address="", action="")
    return None
