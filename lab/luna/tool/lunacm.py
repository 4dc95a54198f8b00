"""Knows what `lunacm` does when it is given one command by -q or -c; its own prompt is left out, nobody scripts it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from lab.luna.tool import ha, lunacm_ha
from lab.luna.tool import lunacm_texts as texts
from lab.luna.tool.conf import Conf
from lab.luna.tool.lunacm_ha import known
from lab.luna.tool.ntls import numbered
from lab.luna.tool.world import World


def run(world: World, words: Sequence[str]) -> None:
    """Do what the words say; ends by SystemExit when that is not 0."""
    flag = words[0].lower() if words else ""
    if flag != "-q":
        world.say(world.generation.lunacm_banner)
    if flag not in {"-q", "-c"}:
        world.leave(texts.BARE if words else texts.INTERACTIVE, 1)
    act: Callable[[World, Sequence[str]], None] | None = None
    match known(words[1:2], ("hagroup", "slot", "clientconfig")):
        case "hagroup" if world.generation.hagroup:
            act = lunacm_ha.run
        case "slot" if known(words[2:3], ("list",)):
            act = slot_list
        case "clientconfig" if known(words[2:3], ("listServers",)):
            act = list_servers
    if act is None:
        world.leave(texts.UNKNOWN, 1)
    act(world, words[2:])
    world.say(texts.DONE)
    world.end()
    sys.exit(world.switches["status"])


def slot_list(world: World, _: Sequence[str]) -> None:
    """List the slots; the members' stay visible here even with HAOnly (documented)."""
    world.begin("slotList")
    conf = Conf(world)
    version = world.generation.lunacm_banner.partition(") v")[2].partition(" ")[0].rstrip(".").partition("-")[0]
    net = {"model": f"LunaSA {version}", "version": version, "kind": "Net Token Slot"}
    virtual = {"model": "LunaVirtual", "version": version, "kind": "HA Virtual Card Slot"}
    parts = [
        texts.SLOT.format(slot=slot, label=one.label, serial=one.serial, **net)
        for slot, one in numbered(world, conf)
        if one
    ]
    parts += [
        texts.SLOT.format(slot=one.slot, label=one.label, serial=one.serial, **virtual)
        for one in ha.groups(world, conf)
    ]
    first = world.generation.first_slot if parts else "None"
    world.say("\n".join([texts.SLOTS_HEAD, *parts, texts.CURRENT.format(first)]))


def list_servers(world: World, _: Sequence[str]) -> None:
    """List the registered appliances; only that the command is there was seen."""
    world.begin("listServers")
    world.say("\n".join(texts.SERVER.format(one) for one in Conf(world).servers()) or texts.NO_SERVERS)


def main(folder: str) -> None:
    """Run as the program."""
    run(World(folder, "lunacm"), sys.argv[1:])
