"""Knows what `lunacm hagroup` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

from lab.luna.tool import ha
from lab.luna.tool import lunacm_texts as texts
from lab.luna.tool.conf import HA, Conf
from lab.luna.tool.ha import Quit, Refused
from lab.luna.tool.ntls import numbered
from lab.luna.tool.terminal import ask_pin
from lab.luna.tool.words import options, pick
from lab.luna.tool.world import World

# Documented: fixed short names exist, of which the record has `ha` and `rt`; the others are made up.
SHORT = {"ha": "hagroup", "rt": "retry", "lg": "listGroups", "cg": "createGroup", "am": "addMember", "ho": "haonly"}


def known(words: Sequence[str], among: Sequence[str]) -> str | None:
    """Understand one word, short or prefix."""
    word = words[0].lower() if words else ""
    return pick(SHORT.get(word, word), among)


def run(world: World, words: Sequence[str]) -> None:
    """Do what stands after hagroup."""
    acts: dict[str, Callable[[World, Sequence[str]], None]] = {
        "createGroup": create_group,
        "addMember": add_member,
        "listGroups": list_groups,
        "haonly": ha_only,
        "retry": retry,
        "interval": interval,
    }
    act = known(words[:1], tuple(acts))
    if act is None:
        world.leave(texts.UNKNOWN, 1)
    try:
        acts[act](world, words[1:])
    except Quit:
        world.leave(texts.CANCELLED, 0)
    except Refused as error:
        _refuse(world, str(error))


def create_group(world: World, words: Sequence[str]) -> None:
    """Found a group; prints it."""
    options_of = {"serialNumber": True, "label": True, "password": True}
    given = _begin(world, ("newGroup", "createGroup"), words, options_of, need=("label", "serialNumber"))
    group = ha.new_group(world, Conf(world), given["label"], given["serialNumber"], given.get("password"))
    world.say(texts.CREATED.format(group.label, group.serial))
    world.say(texts.CREATED_GROUP.format(**ha.facts(group)))
    world.say(texts.RESTART)


def add_member(world: World, words: Sequence[str]) -> None:
    """Add a member to a group; prints it."""
    options_of = {"serialNumber": True, "group": True, "password": True}
    given = _begin(world, ("addMember", "addMember"), words, options_of, need=("serialNumber", "group"))
    group = ha.add_member(world, Conf(world), given["group"], given["serialNumber"], given.get("password"))
    world.say(texts.JOINED.format(given["serialNumber"], group.serial))
    world.say(texts.CREATED_GROUP.format(**ha.facts(group)))


def list_groups(world: World, words: Sequence[str]) -> None:
    """Show the global settings and all groups or one; without HAOnly a password is asked for, any will do (seen)."""
    given = _begin(world, ("show", "listGroups"), words, {"group": True, "password": True})
    conf = Conf(world)
    if "password" not in given and not ha.only(conf) and world.generation.asks != "never":
        ask_pin(world)
    groups = ha.shown(world, conf, given.get("group", ""))
    world.say(texts.GLOBAL.format(**ha.settings(conf)))
    slots = {one.serial: str(slot) for slot, one in numbered(world, conf) if one}
    for group in groups:
        world.say(texts.GROUP.format(**ha.facts(group), sync=texts.NO_SYNC if ha.only(conf) else "no"))
        for serial, row in ha.members(world, conf, group):
            slot = "------" if ha.only(conf) else slots.get(serial, "------")
            state = (row.label, "alive") if row else ("------------", "down")
            world.say(texts.MEMBER_ROW.format(slot, serial, *state))


def ha_only(world: World, words: Sequence[str]) -> None:
    """Switch HAOnly."""
    given = _begin(world, ("HAOnly", "haonly"), words, {"enable": False, "disable": False, "show": False})
    if not {"enable", "disable"}.isdisjoint(given):
        _set(world, "HAOnly", "1" if "enable" in given else "0")
    world.say(texts.HA_ONLY.format("enabled" if ha.only(Conf(world)) else "disabled"))


def retry(world: World, words: Sequence[str]) -> None:
    """Set how often it is tried to recover a member; -1 is for ever."""
    count = _begin(world, ("autoRecovery", "retry"), words, {"count": True}, need=("count",))["count"]
    _set(world, "reconnAtt", count)
    world.say(texts.RETRY.format(count))


def interval(world: World, words: Sequence[str]) -> None:
    """Set the seconds between two tries."""
    seconds = _begin(world, ("autoRecovery", "interval"), words, {"interval": True}, need=("interval",))["interval"]
    _set(world, "AutoReconnectInterval", seconds)
    world.say(texts.INTERVAL.format(seconds))


def _begin(
    world: World,
    names: tuple[str, str],
    words: Sequence[str],
    known_options: dict[str, bool],
    *,
    need: Sequence[str] = (),
) -> dict[str, str]:
    """Name the command, as vtl and as lunacm has it, and read its options; ends with a syntax text if they are wrong.

    A client that never asks needs the PIN among them.
    """
    command, act = names
    world.begin(command)
    given = options(words, known_options)
    if command in {"newGroup", "addMember"} and world.generation.asks == "never":
        need = (*need, "password")
    lacking = next((one for one in need if not (given or {}).get(one)), None)
    if given is None or lacking or world.fault("usage"):
        if lacking:
            world.say(texts.MISSING.format(lacking))
        world.leave(texts.SYNTAX.format(act, " ".join(f"-{one} <{one}>" for one in known_options)), 1)
    return given


def _set(world: World, key: str, value: str) -> None:
    conf = Conf(world)
    conf.put(HA, key, value)
    conf.save()


def _refuse(world: World, why: str) -> NoReturn:
    """Say why not. A refused PIN leaves with 0 (a third party's mock does so), all else with 1 (made up)."""
    generation = world.generation
    refusals = {"incorrect": (generation.refusal, texts.INCORRECT), "locked": (generation.locked, texts.LOCKED)}
    text, code = refusals.get(why, (f"Error: {why}", texts.GENERAL))
    world.say(text)
    world.leave(texts.FAILED.format(code), 0 if why in refusals else 1)
