"""Knows what operators may change from the page: grant, withdraw, revoke, resume; each on a form that asks back.

The same functions as the command line's do it (ledger/desk.py), and the same audit lines tell it, with who it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hsm_enrol.wire.bundle import PIN_ID
from hsm_enrol.wire.keys import THUMBPRINT
from hsm_verifier.admin.asked import Asked, NotShown, Page
from hsm_verifier.admin.office import Office
from hsm_verifier.admin.pages import instance_id
from hsm_verifier.admin.words import moment
from hsm_verifier.audit import Fact
from hsm_verifier.ledger import desk

LONGEST_REASON = 200
SPANS = {"15min": 900.0, "1h": 3600.0, "4h": 4 * 3600.0, "24h": 24 * 3600.0}


class Refused(Exception):
    """The form was not filled in well: the sentence is shown above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Let an instance be served once more (O6)."""

    office: Office

    def form(self, asked: Asked, ticket: str, fault: str = "") -> Page:
        """Ask how often, how long, for which key and why."""
        name = instance_id(asked)
        lines = self.office.recent.lines()
        refused = next((one for one in lines if one.instance == name and one.reason == "already_enrolled"), None)
        owner = refused.record.get("owner") if refused else None
        return self.office.render(
            "grant.html",
            asked,
            status=400 if fault else 200,
            instance=name,
            ticket=ticket,
            fault=fault,
            spans=tuple(SPANS),
            owner=asked.form.get("owner", owner if isinstance(owner, str) else ""),
            key_was_refused=isinstance(owner, str),
        )

    def do(self, asked: Asked) -> str:
        """Write the grant down; gives the sentence for the next page. Raises Refused."""
        name, form = instance_id(asked), asked.form
        count, owner = form.get("count", ""), form.get("owner", "").strip() or None
        if not re.fullmatch("[0-9]{1,3}", count, re.ASCII) or form.get("until") not in SPANS:
            raise Refused("How often and how long: choose from what is offered")
        if owner is not None and not re.fullmatch(THUMBPRINT, owner, re.ASCII):
            raise Refused("The key is the thumbprint of 43 characters that the agent printed")
        why = _reason(asked)
        try:
            until = desk.make_grant(
                self.office.store, name, count=int(count), seconds=SPANS[form["until"]], reason=why, owner=owner
            )
        except ValueError as error:
            raise Refused(str(error)) from None
        _note(self.office, asked, "grant", instance=name, count=int(count), until=moment(until), why=why, owner=owner)
        return f"{name} may be served {int(count)} more time(s) until {moment(until)}"

    def back(self, asked: Asked) -> str:
        """Give the page to return to."""
        return f"/instances/{instance_id(asked)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """Take back an instance's grants that are still open."""

    office: Office

    def form(self, asked: Asked, ticket: str, fault: str = "") -> Page:
        """Say how many there are and ask why."""
        name = instance_id(asked)
        return self.office.render(
            "withdraw.html",
            asked,
            status=400 if fault else 200,
            instance=name,
            count=desk.open_grants(self.office.store, name),
            ticket=ticket,
            fault=fault,
        )

    def do(self, asked: Asked) -> str:
        """End them; gives the sentence for the next page. Raises Refused."""
        name, why = instance_id(asked), _reason(asked)
        count = desk.withdraw(self.office.store, name)
        if not count:
            raise Refused(f"{name} has no grant that is open")
        _note(self.office, asked, "grant_withdrawn", instance=name, why=why, grants=count)
        return f"{count} grant(s) of {name} withdrawn; what was given by them stays given"

    def back(self, asked: Asked) -> str:
        """Give the page to return to."""
        return f"/instances/{instance_id(asked)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """Never serve an instance again."""

    office: Office

    def form(self, asked: Asked, ticket: str, fault: str = "") -> Page:
        """Say what it means and ask why."""
        return self.office.render(
            "revoke.html",
            asked,
            status=400 if fault else 200,
            instance=instance_id(asked),
            ticket=ticket,
            fault=fault,
        )

    def do(self, asked: Asked) -> str:
        """Make all its slots REVOKED; gives the sentence for the next page. Raises Refused."""
        name, why = instance_id(asked), _reason(asked)
        count = desk.revoke(self.office.store, name)
        if not count:
            raise Refused(f"{name} has no slot that is not revoked already")
        _note(self.office, asked, "revoke", instance=name, why=why, slots=count)
        return f"{name} is revoked; what it holds stays valid until the HSM forgets it"

    def back(self, asked: Asked) -> str:
        """Give the page to return to."""
        return f"/instances/{instance_id(asked)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Let a halted PIN be tried again (V13)."""

    office: Office

    def form(self, asked: Asked, ticket: str, fault: str = "") -> Page:
        """Say what it risks and ask why."""
        pin_id = _pin_id(asked)
        rows = tuple(one for one in desk.list_gates(self.office.store) if one.pin_id == pin_id)
        groups = tuple(one.group for one in self.office.catalogue.current() if one.pin_id == pin_id)
        return self.office.render(
            "resume.html",
            asked,
            status=400 if fault else 200,
            pin_id=pin_id,
            rows=rows,
            groups=groups,
            ticket=ticket,
            fault=fault,
        )

    def do(self, asked: Asked) -> str:
        """End HALTED; gives the sentence for the next page. Raises Refused."""
        pin_id, why = _pin_id(asked), _reason(asked)
        if not desk.resume_gate(self.office.store, pin_id):
            raise Refused(f"PIN {pin_id} is not halted")
        _note(self.office, asked, "bundle_resume", pin_id=pin_id, why=why)
        return f"PIN {pin_id} may be tried again; two wrong tries halt it again"

    def back(self, _asked: Asked) -> str:
        """Give the page to return to."""
        return "/"


Act = Grant | Withdraw | Revoke | Resume


def _reason(asked: Asked) -> str:
    why = asked.form.get("reason", "").strip()
    if not why or len(why) > LONGEST_REASON or not why.isprintable():
        raise Refused(f"A reason is wanted for the audit: one line of at most {LONGEST_REASON} characters")
    return why


def _pin_id(asked: Asked) -> str:
    pin_id = asked.path["pin_id"]
    if not re.fullmatch(PIN_ID, pin_id, re.ASCII):
        raise NotShown(404, "that is no PIN's id")
    return pin_id


def _note(office: Office, asked: Asked, event: str, **facts: Fact) -> None:
    try:
        office.audit.write(event, office.clock(), by=asked.caller.name, via="page", **facts)
    except OSError:
        raise NotShown(500, f"{event} was done, but the audit could not be written; tell whoever keeps it") from None
