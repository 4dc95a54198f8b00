"""Knows what `vtl haAdmin` does, with dashes or without as the client's generation has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from lab.luna.tool import ha
from lab.luna.tool import vtl_texts as texts
from lab.luna.tool.conf import HA, Conf
from lab.luna.tool.ha import Group, Quit, Refused
from lab.luna.tool.ntls import numbered
from lab.luna.tool.words import begin, pick
from lab.luna.tool.world import World


def run(world: World, words: Sequence[str]) -> None:
    """Do what stands after haAdmin."""
    acts: dict[str, Callable[[World, Sequence[str]], None]] = {
        "newGroup": new_group,
        "addMember": add_member,
        "HAOnly": ha_only,
        "autoRecovery": auto_recovery,
        "show": show,
    }
    word, form = words[0] if words else "", world.generation.ha
    act = pick(word.removeprefix("-"), acts) if word.startswith("-") or form == "both" else None
    if act is None:
        world.leave(texts.HA_USAGE.format("-" if form == "dashed" else ""), world.generation.usage_status)
    acts[act](world, words[1:])


def new_group(world: World, words: Sequence[str]) -> None:
    """Found a group; prints it."""
    known = {"label": True, "serialNum": True, "password": True}
    given = begin(world, "newGroup", words, known, need=("label", "serialNum"))
    conf = Conf(world)
    try:
        group = ha.new_group(world, conf, given["label"], given["serialNum"], given.get("password"))
    except (Refused, Quit) as error:
        _refuse(world, error)
    world.say(_described(world, conf, group))


def add_member(world: World, words: Sequence[str]) -> None:
    """Add a member to a group; prints it."""
    known = {"group": True, "serialNum": True, "password": True}
    given = begin(world, "addMember", words, known, need=("group", "serialNum"))
    conf = Conf(world)
    try:
        group = ha.add_member(world, conf, given["group"], given["serialNum"], given.get("password"))
    except (Refused, Quit) as error:
        _refuse(world, error)
    world.say(_described(world, conf, group))


def ha_only(world: World, words: Sequence[str]) -> None:
    """Switch HAOnly; both `enable` and `-enable` are documented."""
    world.begin("HAOnly")
    conf = Conf(world)
    act = pick(words[0].removeprefix("-"), ("enable", "disable", "show")) if words else None
    if act is None:
        world.leave(texts.HA_ONLY_USAGE, world.generation.usage_status)
    if act != "show":
        conf.put(HA, "HAOnly", "1" if act == "enable" else "0")
        conf.save()
    world.say(texts.HA_ONLY.format("enabled" if ha.only(conf) else "disabled"))


def auto_recovery(world: World, words: Sequence[str]) -> None:
    """Set how often and how long apart it is tried to recover a member."""
    given = begin(world, "autoRecovery", words, {"retry": True, "interval": True})
    conf = Conf(world)
    for option, key, text in (
        ("retry", "reconnAtt", texts.RETRY),
        ("interval", "AutoReconnectInterval", texts.INTERVAL),
    ):
        if option in given:
            conf.put(HA, key, given[option])
            world.say(text.format(given[option]))
    conf.save()


def show(world: World, words: Sequence[str]) -> None:
    """Show the global settings, which the published notes of a 5.1 client do not have, and each group."""
    begin(world, "show", words, {})
    conf = Conf(world)
    if world.generation.ha == "both":
        world.say(texts.GLOBAL_HEAD + texts.GLOBAL.format(**ha.settings(conf)))
    world.say(texts.GROUP_HEAD)
    for one in ha.shown(world, conf):
        world.say(_described(world, conf, one))


def _refuse(world: World, error: Refused | Quit) -> NoReturn:
    """Say why not; with status 0, as vtl does."""
    if isinstance(error, Quit):
        world.leave(texts.CANCELLED, 0)
    why = str(error)
    refusals = {"incorrect": world.generation.refusal, "locked": world.generation.locked}
    world.leave(refusals.get(why, f"Error: {why}"), 0)


def _described(world: World, conf: Conf, group: Group) -> str:
    """Give the text about a group."""
    lines = [texts.GROUP.format(**ha.facts(group))]
    slots = {one.serial: str(slot) for slot, one in numbered(world, conf) if one}
    for serial, row in ha.members(world, conf, group):
        slot = "------" if ha.only(conf) else slots.get(serial, "-")
        state = (row.label, "alive") if row else ("------------", "down")
        lines.append(texts.MEMBER_ROW.format(slot, serial, *state))
    return "\n".join(lines)
