"""Knows how to say what a bundle will hand out, so that a person can compare it before an instance gets it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from hsm_verifier.admin.words import ago
from hsm_verifier.cli.common import when
from hsm_verifier.published import Published, Shown

SOON = 30 * 86400.0


def report(new: Published, old: Published | None, now: float) -> Iterator[str]:
    """Give the lines; `old` is what the group had, `now` Unix seconds."""
    yield f"group {new.group} will be handed out:"
    yield from _certificate(f"client {new.client}", new.certificate, old.certificate if old else None, now)
    before = {one.address: one.certificate for one in old.servers} if old else {}
    for one in new.servers:
        yield from _certificate(f"server {one.address}:{one.port}", one.certificate, before.get(one.address), now)
    gone = sorted(set(before) - {one.address for one in new.servers})
    if gone:
        yield f"  no longer: server {', '.join(gone)}"
    yield f"  HA group {new.label}: member{'s' * (len(new.members) != 1)} {', '.join(new.members)}"
    if old and (old.label, old.members) != (new.label, new.members):
        yield f"    before: {old.label}: {', '.join(old.members)}"
    yield f"  {_pin(new, old)}"


def tell(new: Published, old: Published | None, now: float) -> None:
    """Print the report to stderr: stdout is for scripts."""
    for line in report(new, old, now):
        print(line, file=sys.stderr)


def _certificate(what: str, shown: Shown, before: Shown | None, now: float) -> Iterator[str]:
    change = "" if before is None else " (unchanged)" if before == shown else " (changed)"
    yield f"  {what}{change}"
    yield f"    valid until {when(shown.not_after)}, {ago(shown.not_after, now)}"
    if shown.not_after - now < SOON:
        yield f"    warning: it ends in less than {int(SOON // 86400)} days"
    yield f"    SHA-256 {shown.fingerprint}"


def _pin(new: Published, old: Published | None) -> str:
    if new.pin_id is None:
        return "no partition PIN"
    if old is None or old.pin_id != new.pin_id:
        return f"a new partition PIN ({new.pin_id}): one instance tries it first, the others wait for it"
    if old.members != new.members:
        return f"the same partition PIN ({new.pin_id}) on other members: one instance tries it first"
    return f"the same partition PIN ({new.pin_id})"
