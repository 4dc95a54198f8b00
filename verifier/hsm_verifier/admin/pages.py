"""Knows what operators may read: the fleet, one instance, decisions, metrics."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from hsm_enrol.wire.assertion import INSTANCE_ID
from hsm_verifier.admin import metrics, timeline
from hsm_verifier.admin.asked import Asked, NotShown, Page
from hsm_verifier.admin.attention import notices, of_these
from hsm_verifier.admin.office import Office
from hsm_verifier.admin.recent import Told, matching
from hsm_verifier.ledger import desk
from hsm_verifier.ledger.fleet import STATES, Line, Wanted
from hsm_verifier.ledger.store import LedgerError
from hsm_verifier.refusal import Refusal
from hsm_verifier.vault import VaultError

ROWS = 50  # instances a page
DECISIONS = 100  # audit lines a page
NAMED = 500  # ids that a search by host name may add
DAY = 86400.0
UNREADABLE = (LedgerError, VaultError, Refusal, SQLAlchemyError, OSError)  # ledger, bundles or audit are away
_log = logging.getLogger("hsm_verifier")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Which part of a long list is shown; pages count from 1."""

    page: int
    pages: int
    total: int
    first: int
    last: int


def sheet_of(asked: Asked, total: int, rows: int) -> Sheet:
    """Read `page` from the query; beyond the end is the last page."""
    text = asked.query.get("page", "1")
    pages = max(1, -(-total // rows))
    page = min(pages, max(1, int(text))) if re.fullmatch("[0-9]{1,6}", text, re.ASCII) else 1
    return Sheet(page=page, pages=pages, total=total, first=(page - 1) * rows, last=min(total, page * rows))


def fleet(office: Office, asked: Asked) -> Page:
    """Show everything on one page: what wants attention, counts, time line, bundles, instances, refusals."""
    now = office.clock()
    (bundles, unusable), lines = office.catalogue.look(), office.recent.lines()
    broken = office.missed(unusable)
    look, names = office.fleet(bundles, now), office.recent.names()
    wanted = _wanted(asked, names)
    sheet = sheet_of(asked, look.count(wanted), ROWS)
    shown = look.lines(wanted, limit=ROWS, offset=sheet.first)
    gates, mode, overdue = desk.list_gates(office.store), office.store.mode(), look.overdue()
    refused = tuple(one for one in lines if one.refused and one.time > now - DAY)
    span = asked.query.get("span", "24h")
    span = span if span in timeline.SPANS else "24h"
    begin = now - timeline.SPANS[span][0]
    return office.render(
        "fleet.html",
        asked,
        notices=notices(
            office, office.handed_out(bundles), gates, broken=broken, mode=mode, overdue=overdue, lines=lines, now=now
        ),
        states=look.counts(),
        overdue=overdue,
        refused=refused[:10],
        refused_count=len(refused),
        bundles=bundles,
        handed_out={one.group for one in office.handed_out(bundles)},
        groups=sorted({*office.bundle_names(), *unusable, *(one.group for one in bundles)}),
        unusable=unusable,
        gates={(one.pin_id, one.members): one for one in gates},
        gate_off={name for name, has_gate in office.bundle_names().items() if not has_gate},
        timeline=timeline.draw(look.taken_since(begin), (one.time for one in lines if one.refused), span=span, now=now),
        span=span,
        spans=tuple(timeline.SPANS),
        lines=shown,
        names=names,
        errors=last_errors(shown, lines),
        sheet=sheet,
        wanted=wanted,
        all_states=STATES,
    )


def instance(office: Office, asked: Asked) -> Page:
    """Show one instance: its slots, its grants, what the audit says of it."""
    name = instance_id(asked)
    now = office.clock()
    bundles, lines = office.catalogue.current(), office.recent.lines()
    look = office.fleet(bundles, now)
    standing = look.lines(Wanted(words=name), limit=1)
    told = tuple(one for one in lines if one.instance == name)
    slots = look.slots_of(name)
    waits = look.waits_since(name)
    grants = look.grants_of(name)
    if not (slots or told or waits or grants):
        raise NotShown(404, f"{name} was neither served nor refused here as far as ledger and audit remember")
    return office.render(
        "instance.html",
        asked,
        instance=name,
        name=office.recent.names().get(name, ""),
        standing=standing[0] if standing else None,
        slots=slots,
        waits=waits,
        grants=grants,
        open_grants=desk.open_grants(office.store, name),
        lines=told[:DECISIONS],
        error=last_errors(standing, lines).get(name, ""),
        last=told[0] if told else None,
    )


def decisions(office: Office, asked: Asked) -> Page:
    """Show the audit's newest lines, all or those that name a word; `only` is refused or alarms."""
    found = office.recent.lines()
    words, only = asked.query.get("q", "").strip(), asked.query.get("only", "")
    if words:
        found = tuple(matching(found, words))
    if only == "refused":
        found = tuple(one for one in found if one.refused)
    if only == "alarms":
        found = tuple(one for one in found if one.alarm)
    sheet = sheet_of(asked, len(found), DECISIONS)
    return office.render(
        "decisions.html", asked, lines=found[sheet.first : sheet.last], sheet=sheet, words=words, only=only
    )


def decision(office: Office, asked: Asked) -> Page:
    """Show one audit line whole."""
    for one in office.recent.lines():
        if one.decision == asked.path["decision"]:
            record = {name: value for name, value in one.record.items() if name != "prev"}
            return office.render("decision.html", asked, told_line=one, record=_lines_of(record))
    raise NotShown(404, "the audit's newer lines have no such decision; look with `hsm-verifier audit find`")


def show_metrics(office: Office, _asked: Asked) -> Page:
    """Give Prometheus's text. Where ledger or bundles are away it goes without, so that alarms are heard then."""
    stored = _if_readable(office.catalogue.look)
    bundles = None if stored is None else office.handed_out(stored[0])
    look = office.fleet(bundles or (), office.clock())
    ledger = _if_readable(lambda: (look.counts(), look.overdue(), desk.list_gates(office.store), office.store.mode()))
    states, overdue, gates, mode = ledger or (None, None, None, None)
    text = metrics.write(
        office.counts.now(),
        states=None if bundles is None else states,  # FREE is who has not the newest bundle
        overdue=overdue,
        gates=None if bundles is None or gates is None else of_these(bundles, gates),
        mode=mode,
        bundles=bundles or (),
        broken=() if stored is None else tuple(office.missed(stored[1])),
        tls_not_after=office.tls_not_after,
        began=office.began,
    )
    return Page(body=text, kind=metrics.CONTENT_TYPE)


def _if_readable(work: Callable[[], T]) -> T | None:
    try:
        return work()
    except UNREADABLE as error:
        _log.warning("metrics: %s", type(error).__name__)
        return None


def instance_id(asked: Asked) -> str:
    """Give the instance that the address names. Raises NotShown when it is none."""
    name = asked.path["instance"]
    if not re.fullmatch(INSTANCE_ID, name, re.ASCII):
        raise NotShown(404, "that is no instance id")
    return name


def last_errors(shown: Sequence[Line], lines: Sequence[Told]) -> dict[str, str]:
    """Give what went wrong last with each instance; what was overcome since (served, confirmed) is not told."""
    wanted = {one.instance_id: one for one in shown}
    found: dict[str, str] = {}
    for told in lines:  # newest first
        line = wanted.get(told.instance)
        if line is None or told.instance in found or told.time < max(line.taken_at, line.confirmed_at or 0.0):
            continue
        if told.refused:
            found[told.instance] = f"refused: {told.reason}" + (f" ({told.detail})" if told.detail else "")
        elif told.event == "receipt" and told.record.get("result") == "failed":
            found[told.instance] = f"failed: {told.record.get('code') or 'no code'}"
    for line in shown:
        if line.result == "failed" and line.state != "CONFIRMED":
            found.setdefault(line.instance_id, f"failed: {line.code or 'no code'}")
    return found


def _wanted(asked: Asked, names: dict[str, str]) -> Wanted:
    words = asked.query.get("q", "").strip()[:64]
    state = asked.query.get("state", "")
    low = words.casefold()
    ids = tuple(one for one, name in names.items() if low in name.casefold())[:NAMED] if words else ()
    return Wanted(
        words=words,
        ids=ids,
        state=state if state in STATES else "",
        group=asked.query.get("group", "")[:64],
        overdue=asked.query.get("overdue") == "1",
    )


def _lines_of(record: dict[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=True))
        for name, value in record.items()
    )
