"""Knows what makes an HA group: members, their PIN, the keys of Chrystoki.conf. Both tools do it through here."""

from __future__ import annotations

from typing import NamedTuple

from lab.luna.tool.conf import HA, SYNCHRONIZE, TOKENS, Conf
from lab.luna.tool.ntls import Away, ask, numbered, partitions
from lab.luna.tool.terminal import ask_objects, ask_pin
from lab.luna.tool.world import Row, World, hang


class Group(NamedTuple):
    """A group as the conf has it, and which of its members can be reached."""

    number: int  # NN of VirtualTokenNN
    label: str
    serial: str
    members: tuple[str, ...]
    slot: int


class Refused(Exception):
    """The act cannot be done; the first argument is what the tool says."""


class Quit(Exception):
    """The person said quit."""


# Seen in scripts that look for these words; what stands around them is made up.
LABEL_USED = 'The label "{0}" for the new group has already been used by another group.'
ALREADY_MEMBER = "The member you specified is already part of an HA group."
# Made up.
NO_PARTITION = "There is no partition with the serial number {0} on any registered server."
NO_GROUP = "There is no HA group {0}."
LOST = "The connection to the server was lost."


def groups(world: World, conf: Conf) -> list[Group]:
    """Give the groups in the conf. Their slots follow the physical ones, or come first when only they are shown."""
    physical = 0 if only(conf) else len(numbered(world, conf))
    found = []
    for at, (number, label) in enumerate(conf.numbered(TOKENS, "VirtualToken", "Label")):
        members = conf.get(TOKENS, f"VirtualToken{number:02}Members")
        found.append(
            Group(
                number=number,
                label=label,
                serial=conf.get(TOKENS, f"VirtualToken{number:02}SN"),
                members=tuple(one.strip() for one in members.split(",") if one.strip()),
                slot=world.generation.first_slot + physical + at,
            )
        )
    return found


def only(conf: Conf) -> bool:
    """Tell whether only HA slots are shown to applications."""
    return conf.get(HA, "HAOnly") == "1"


def find(world: World, conf: Conf, name: str) -> Group:
    """Find a group by label or number. Raises Refused."""
    for one in groups(world, conf):
        if name in {one.label, one.serial}:
            return one
    raise Refused(NO_GROUP.format(name))


def new_group(world: World, conf: Conf, label: str, serial: str, pin: str | None) -> Group:
    """Found a group on its first member. Raises Refused, Quit."""
    if world.fault("label-used") or any(one.label == label for one in groups(world, conf)):
        raise Refused(LABEL_USED.format(label))
    _take_in(world, conf, serial, pin)
    number = conf.free(TOKENS, "VirtualToken", "Label")
    family = f"VirtualToken{number:02}"
    for key, value in (("Label", label), ("SN", world.switches["group_number"] or "1" + serial), ("Members", serial)):
        conf.put(TOKENS, family + key, value)
    conf.put(SYNCHRONIZE, label, "1")
    conf.save()
    return find(world, conf, label)


def add_member(world: World, conf: Conf, name: str, serial: str, pin: str | None) -> Group:
    """Add a member to a group. Raises Refused, Quit."""
    group = find(world, conf, name)
    if any(serial in one.members for one in groups(world, conf)):
        raise Refused(ALREADY_MEMBER)
    _take_in(world, conf, serial, pin)
    conf.put(TOKENS, f"VirtualToken{group.number:02}Members", ",".join((*group.members, serial)))
    conf.save()
    return find(world, conf, name)


def _take_in(world: World, conf: Conf, serial: str, pin: str | None) -> None:
    """Find the partition, prove the PIN there, settle what becomes of its objects; in this order, made up."""
    row = next((one for one in partitions(world, conf) if one and one.serial == serial), None)
    if row is None:
        raise Refused(NO_PARTITION.format(serial))
    typed = ask_pin(world) if pin is None else pin
    if world.fault("hang-with-pin"):
        hang()
    try:
        answer = ask(world, conf, row.server, {"ask": "login", "serial": serial, "pin": typed})
        while answer["result"] == "incorrect" and world.fault("retries"):
            world.say(world.generation.refusal)
            answer = ask(world, conf, row.server, {"ask": "login", "serial": serial, "pin": ask_pin(world)})
        if answer["result"] != "ok":
            raise Refused(answer["result"])
        if answer["objects"]:
            said = ask_objects(world)
            ask(world, conf, row.server, {"ask": "objects", "serial": serial, "answer": said})
            if said == "quit":
                raise Quit
    except Away:
        raise Refused(LOST) from None


def shown(world: World, conf: Conf, name: str = "") -> list[Group]:
    """Give all groups or one as show and listGroups have them, with the faults that are on. Raises Refused."""
    found = [find(world, conf, name)] if name else groups(world, conf)
    if world.fault("show-nothing"):
        return []
    longer = "-old" if world.fault("show-longer") else ""
    return [one._replace(label=one.label + longer) for one in found]


def facts(group: Group) -> dict[str, object]:
    """Give what the texts about a group have places for."""
    return {"label": group.label, "serial": group.serial, "slot": group.slot, "members": ", ".join(group.members)}


def settings(conf: Conf) -> dict[str, str]:
    """Give what the texts about the global settings have places for."""
    retry = conf.get(HA, "reconnAtt") or "0"
    return {
        "recovery": "disabled" if retry == "0" else "enabled",
        "retry": retry,
        "interval": conf.get(HA, "AutoReconnectInterval") or "60",
        "only": "yes" if only(conf) else "no",
    }


def members(world: World, conf: Conf, group: Group) -> list[tuple[str, Row | None]]:
    """Give a group's members, with their rows when they are alive."""
    alive = {one.serial: one for one in partitions(world, conf) if one}
    return [(serial, alive.get(serial)) for serial in group.members]
