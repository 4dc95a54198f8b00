"""Knows which keys of Chrystoki.conf differ from what is wanted: pointers, servers, the HA group; others' stay.

Names and numbers by their rules: servers match by name without case, groups by exact label; new ones take the lowest
free number; where a removal leaves a hole in a dense list the last entry moves into it, because a library that reads
until the first missing number would lose a server otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from hsm_enrol import chrystoki
from hsm_enrol.chrystoki import CLIENT, HA, SYNCHRONIZE, TOKENS, Conf, GroupEntry, NotUnderstood
from hsm_enrol.errors import GroupConflict
from hsm_enrol.model import Change, Desired, Group, Server
from hsm_enrol.wire.addresses import meant_by

NO_HTL = {None, "", "0"}  # three spellings of no host trust link; which of them a tool leaves, no document says
Row = TypeVar("Row")
ServerRow = tuple[str, str | None, str | None]  # name, port, htl
GroupRow = tuple[str | None, str | None, str | None]  # label, serial, members


def conf_changes(
    text: str, desired: Desired, former_servers: Sequence[Server], former_label: str | None
) -> Iterator[Change]:
    """Give the changes, each with the value that is there now. Raises NotUnderstood, GroupConflict."""
    conf = chrystoki.parse(text)
    wanted: dict[tuple[str, str], str | None] = {
        (CLIENT, "ClientCertFile"): desired.paths.cert,
        (CLIENT, "ClientPrivKeyFile"): desired.paths.key,
        (CLIENT, "ServerCAFile"): desired.paths.ca_file,
        (CLIENT, "NetClient"): "1",
    }
    wanted |= server_keys(conf, desired.servers, former_servers)
    wanted |= group_keys(conf, desired.ha, former_label)
    wanted |= {
        (HA, "HAOnly"): "1" if desired.ha.only else "0",
        (HA, "reconnAtt"): str(desired.ha.retry),
        (HA, "AutoReconnectInterval"): str(desired.ha.interval),
    }
    yield from differences(conf, wanted)


def differences(
    conf: Conf, wanted: Mapping[tuple[str, str], str | None], before: Collection[str | None] = ()
) -> Iterator[Change]:
    """Give the changes for those keys that are not as wanted; `before` are values that stood in this file once."""
    for (section, key), value in wanted.items():
        now = chrystoki.get(conf, section, key)
        if now != value:
            foreign = value is not None and not value.isascii()
            theirs = foreign and (value in before or value in chrystoki.meaning(conf).values())
            yield Change(section=section, key=key, old=now, new=value, theirs=theirs)


def server_keys(conf: Conf, wanted: Sequence[Server], former: Sequence[Server]) -> dict[tuple[str, str], str | None]:
    """Give the keys of the server list as they have to be; None is "not there"."""
    before: dict[int, ServerRow] = {
        number: (one.name, one.port, one.htl) for number, one in chrystoki.servers(conf).items()
    }
    names = {meant_by(one.address) for one in wanted}
    gone = {meant_by(one.address) for one in former} - names
    rows = without(before, [number for number, row in before.items() if meant_by(row[0]) in gone])
    for server in wanted:
        number = next((n for n, row in rows.items() if meant_by(row[0]) == meant_by(server.address)), None)
        if number is None:
            rows[_free(rows)] = (server.address, str(server.port), "0")
        else:
            rows[number] = (rows[number][0], str(server.port), rows[number][2])
    found: dict[tuple[str, str], str | None] = {}
    for number in sorted({*before, *rows}):
        row = rows.get(number, (None, None, None))
        for key, value in zip(("ServerName", "ServerPort", "ServerHtl"), row, strict=True):
            found[CLIENT, f"{key}{number:02}"] = value
    return found


def group_keys(conf: Conf, wanted: Group, former_label: str | None) -> dict[tuple[str, str], str | None]:
    """Give the keys of the group list as they have to be. Raises NotUnderstood (our label twice), GroupConflict."""
    rows: dict[int, GroupRow] = {}
    groups = chrystoki.groups(conf)
    for number, one in groups.items():
        rows[number] = (one.label, one.serial, chrystoki.get(conf, TOKENS, f"VirtualToken{number:02}Members"))
    ours = [number for number, row in rows.items() if row[0] == wanted.label]
    if len(ours) > 1:
        raise NotUnderstood(_line_of(conf, ours[1]), f"label {wanted.label} twice")
    renamed = [number for number, row in rows.items() if former_label and row[0] == former_label]
    nameless = [
        number for number, row in rows.items() if former_label and not row[0] and _holds(groups[number], wanted)
    ]
    mine = next(iter(ours or renamed or nameless), None)
    for number, one in groups.items():
        if number != mine and _shares(one, wanted):
            raise GroupConflict(label=one.label or f"VirtualToken{number:02}")
    if ours and former_label != wanted.label and groups[ours[0]].members and not _shares(groups[ours[0]], wanted):
        raise GroupConflict(label=wanted.label)  # a group of the site's, which would hold other keys from now on
    found: dict[tuple[str, str], str | None] = {}
    if mine is None:
        mine, serial, members = _free(rows), _new_serial(wanted, rows), None
    else:
        serial = rows[mine][1] or _new_serial(wanted, rows)
        members = rows[mine][2] if _holds(groups[mine], wanted) else None
    found[TOKENS, f"VirtualToken{mine:02}Label"] = wanted.label
    found[TOKENS, f"VirtualToken{mine:02}SN"] = serial
    found[TOKENS, f"VirtualToken{mine:02}Members"] = members or ",".join(wanted.members)
    found[SYNCHRONIZE, wanted.label] = "1"
    if former_label and former_label != wanted.label:
        found[SYNCHRONIZE, former_label] = None
    return found


def lost_by_the_site(old: str, new: str, ours: Desired) -> int:
    """Count what the old text says of servers and groups that are not `ours`, and the new one does not.

    Whatever their numbers are: those a tool may give anew. What had no one reading was not said.
    """
    mine = {(CLIENT, meant_by(one.address)) for one in ours.servers} | {(TOKENS, ours.ha.label)}
    after = _told(chrystoki.parse(new))
    return sum(after.get(what) != value for what, value in _told(chrystoki.parse(old)).items() if what[:2] not in mine)


def _told(conf: Conf) -> dict[tuple[str, str, str], object]:
    """Give what a conf says of each server and group, by section, name and what it is; nothing of an odd section."""
    found: dict[tuple[str, str, str], object] = {}
    with suppress(NotUnderstood):
        for server in chrystoki.servers(conf).values():
            htl = None if server.htl in NO_HTL else server.htl
            for what, value in (("name", True), ("port", server.port), ("htl", htl)):
                found[CLIENT, meant_by(server.name), what] = value
    with suppress(NotUnderstood):
        for group in chrystoki.groups(conf).values():
            label = group.label or ""
            for what, told in (("serial", group.serial), ("members", frozenset(group.members))):
                found[TOKENS, label, what] = told
            found[TOKENS, label, "synchronize"] = chrystoki.get(conf, SYNCHRONIZE, label)
    return {what: value for what, value in found.items() if value is not None}


def _shares(group: GroupEntry, wanted: Group) -> bool:
    return not set(group.members).isdisjoint(wanted.members)


def _holds(group: GroupEntry, wanted: Group) -> bool:
    return set(group.members) == set(wanted.members)


def without(rows: Mapping[int, Row], gone: Sequence[int]) -> dict[int, Row]:
    """Take rows out of a numbered list; dense stays dense, a list that had holes is not compacted."""
    left = {number: row for number, row in rows.items() if number not in gone}
    if sorted(rows) != list(range(len(rows))):
        return left
    for hole in sorted(gone):
        last = max(left, default=-1)
        if last > hole:
            left[hole] = left.pop(last)
    return left


def _free(rows: Mapping[int, object]) -> int:
    return next(number for number in range(len(rows) + 1) if number not in rows)


def _new_serial(wanted: Group, rows: Mapping[int, GroupRow]) -> str:
    """Derive a group serial as the tools do, "1" and the first member's, made unique."""
    taken = {row[1] for row in rows.values()} | set(wanted.members)
    serial = "1" + wanted.members[0]
    while serial in taken:
        serial = "1" + serial
    return serial


def _line_of(conf: Conf, number: int) -> int:
    entry = chrystoki.entry_of(conf, TOKENS, f"VirtualToken{number:02}Label")
    return entry.line if entry else 1
