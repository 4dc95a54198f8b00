"""Knows how to find out whether a host that was enrolled still is a member."""

from __future__ import annotations

from collections.abc import Iterator

from hsm_enrol import luna
from hsm_enrol.checks.membership import Knock, Membership
from hsm_enrol.errors import CannotTell, RecordDamaged
from hsm_enrol.facts.look import Look
from hsm_enrol.host.folders import below
from hsm_enrol.host.observe import look
from hsm_enrol.host.peer import knock
from hsm_enrol.host.site import Site
from hsm_enrol.model import Desired, Present
from hsm_enrol.status import read_status


def find_membership(at: Look, site: Site) -> Membership:
    """Compare with the record, ask the tools, try the appliances' TLS."""
    try:
        found = read_status(site, ask_tools=at.ask_tools)
    except (RecordDamaged, CannotTell) as error:
        return Membership(record=error, enrolled=False)
    record, installed = found.record, found.installed
    if record is None or installed is None:
        return Membership(record=None, enrolled=False, unfinished=found.cut_off)
    return Membership(
        record=None,
        enrolled=True,
        members=installed.ha.members,
        alive=found.alive,
        tools=found.tools or "the Luna tools were not asked",
        tools_failed=found.tools_failed,
        knocks=tuple(_knocks(site, installed)),
        certificates=tuple((one.what, one.until.timestamp()) for one in found.certificates),
        drift=(*found.faults, *found.drift),
        key_form=_key_form(site, installed),
        unfinished=found.cut_off,
        receipt_due=record.receipt_due is not None,
        pin=record.pin.state if record.pin is not None and record.pin.state != "accepted" else "",
    )


def _knocks(site: Site, installed: Desired) -> Iterator[Knock]:
    cert, key = below(site.root, installed.paths.cert), below(site.root, installed.paths.key)
    for one in installed.servers:
        _, fault = knock(one.address, one.port, one.certificate, cert_file=cert, key_file=key)
        yield Knock(address=one.address, port=one.port, fault=fault)


def _key_form(site: Site, installed: Desired) -> str:
    """Warn of a key in a form that some clients do not take. The key itself goes no further than this line."""
    found = look(installed.paths.key, site.root)
    return luna.key_warning(found.content.decode("ascii", "replace")) or "" if isinstance(found, Present) else ""
