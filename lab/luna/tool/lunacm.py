"""Knows what `lunacm` does and says when it is given one command by -q or -c, per generation of the client.

Marks beside the texts: D documented by the vendor, S seen in transcripts or in scripts that match it, M made up.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from lab.luna.tool import ha
from lab.luna.tool.conf import HA, Conf
from lab.luna.tool.ha import Group, Quit, Refused
from lab.luna.tool.ntls import partitions
from lab.luna.tool.terminal import ask_pin
from lab.luna.tool.words import options, pick
from lab.luna.tool.world import World

DONE = "\nCommand Result : No Error"  # S
FAILED = "\nCommand Result : {0}"  # M, after the form of DONE
UNKNOWN = "0x1 Unknown command"  # S, 10.9
BARE = "Unknown command-line arguments"  # S, 10.9
INTERACTIVE = "This stand-in takes one command, after -q or -c."  # M
SYNTAX = "Syntax: hagroup {0} {1}"  # M
MISSING = "The option -{0} is missing."  # M
CREATED = '\tNew group with label "{0}" created with group number {1}.'  # D
CREATED_GROUP = """\tGroup configuration is:

\t         HA Group Label:  {label}
\t        HA Group Number:  {serial}
\t          Group Members:  {members}
\t             Needs sync:  no
"""  # D
RESTART = "\tIt is recommended that you restart LunaCM to refresh the list of available slots."  # D
JOINED = "\tMember {0} successfully added to group {1}."  # S, in a third party's mock only
GLOBAL = """
   HA auto recovery:  {recovery}
   HA recovery mode:  activeBasic
   Maximum auto recovery retry:  {retry}
   Auto recovery poll interval:  {interval} seconds
   HA logging:  disabled
   Only Show HA Slots:  {only}
"""  # D
GROUP = """
         HA Group Label:  {label}
        HA Group Number:  {serial}
       HA Group Slot ID:  {slot}
       Synchronization: enabled
          Group Members:  {members}
             Needs sync:  {sync}
        Standby Members:  <none>

Slot #    Member S/N                      Member Label    Status
======    ==========                      ============    ======"""  # D
NO_SYNC = "Sync info not available in HA Only mode"  # S
MEMBER_ROW = "{0:>6}  {1:>13}  {2:>32}  {3:>8}"  # D
CANCELLED = "The operation was cancelled, nothing was changed."  # M
HA_ONLY = '\t"HA Only" has been {0}.'  # M
RETRY = "\tHA Auto Recovery Count has been set to {0}"  # D
INTERVAL = "\tHA Auto Recovery Interval has been set to {0} seconds."  # M
SLOTS_HEAD = "\tAvailable HSMs:"  # D
SLOT = """
\tSlot Id ->              {slot}
\tLabel ->                {label}
\tSerial Number ->        {serial}
\tModel ->                {model}
\tFirmware Version ->     {version}
\tConfiguration ->        Luna User Partition With SO (PW) Key Export With Cloning Mode
\tSlot Description ->     {kind}"""  # D
CURRENT = "\n\tCurrent Slot Id: {0}"  # D

# Documented: fixed short names exist, of which the record has `ha` and `rt`; the others are made up.
SHORT = {"ha": "hagroup", "rt": "retry", "lg": "listGroups", "cg": "createGroup", "am": "addMember", "ho": "haonly"}
ACTS = ("createGroup", "addMember", "listGroups", "haonly", "retry", "interval")


class Lunacm:
    """One run of lunacm."""

    def __init__(self, world: World) -> None:
        self.world = world

    def run(self, words: Sequence[str]) -> None:
        """Do what the words say; ends by SystemExit when that is not 0."""
        world = self.world
        flag = words[0].lower() if words else ""
        if flag != "-q":
            world.say(world.generation.lunacm_banner)
        if flag not in {"-q", "-c"}:
            world.leave(BARE if words else INTERACTIVE, 1)
        command = self.known(words[1:2], ("hagroup", "slot", "clientconfig"))
        if command == "hagroup" and world.generation.hagroup:
            self.hagroup(words[2:])
        elif command == "slot" and self.known(words[2:3], ("list",)):
            self.slot_list()
        elif command == "clientconfig" and self.known(words[2:3], ("listServers",)):
            self.list_servers()
        else:
            world.leave(UNKNOWN, 1)
        world.end()

    def known(self, words: Sequence[str], among: Sequence[str]) -> str | None:
        """Understand one word."""
        word = words[0].lower() if words else ""
        return pick(SHORT.get(word, word), among)

    def hagroup(self, words: Sequence[str]) -> None:
        """Do what stands after hagroup."""
        acts: dict[str, Callable[[Sequence[str]], None]] = {
            "createGroup": self.create_group,
            "addMember": self.add_member,
            "listGroups": self.list_groups,
            "haonly": self.ha_only,
            "retry": self.retry,
            "interval": self.interval,
        }
        act = self.known(words[:1], ACTS)
        if act is None:
            self.world.leave(UNKNOWN, 1)
        try:
            acts[act](words[1:])
        except Quit:
            self.world.leave(CANCELLED, 0)
        except Refused as error:
            self.refuse(str(error))
        self.world.say(DONE)

    def begin(
        self, command: str, act: str, words: Sequence[str], known: dict[str, bool], *, need: Sequence[str]
    ) -> dict[str, str]:
        """Name the command as vtl has it, read the options; ends with a syntax text when they are not understood."""
        self.world.begin(command)
        given = options(words, known)
        lacking = [one for one in need if not (given or {}).get(one)]
        if given is None or lacking:
            if given is not None:
                self.world.say(MISSING.format(lacking[0]))
            self.world.leave(SYNTAX.format(act, " ".join(f"-{one} <{one}>" for one in known)), 1)
        return given

    def refuse(self, why: str) -> NoReturn:
        """Say why not. A refused PIN leaves with 0 (a third party's mock does so), all else with 1 (made up)."""
        generation = self.world.generation
        if why in {"incorrect", "locked"}:
            code = "0xa0 (CKR_PIN_INCORRECT)" if why == "incorrect" else "0xa4 (CKR_PIN_LOCKED)"
            self.world.say(generation.refusal if why == "incorrect" else generation.locked)
            self.world.leave(FAILED.format(code), 0)
        self.world.say(f"Error: {why}")
        self.world.leave(FAILED.format("0x5 (CKR_GENERAL_ERROR)"), 1)

    def create_group(self, words: Sequence[str]) -> None:
        """Found a group; prints it."""
        known = {"serialNumber": True, "label": True, "password": True}
        need = ("label", "serialNumber", *self.must_be_given())
        given = self.begin("newGroup", "createGroup", words, known, need=need)
        conf = Conf(self.world)
        group = ha.new_group(self.world, conf, given["label"], given["serialNumber"], given.get("password"))
        self.world.say(CREATED.format(group.label, group.serial))
        self.world.say(CREATED_GROUP.format(**self.facts(group)))
        self.world.say(RESTART)

    def must_be_given(self) -> tuple[str, ...]:
        """Tell whether the PIN is taken as an argument only."""
        return ("password",) if self.world.generation.asks == "never" else ()

    def add_member(self, words: Sequence[str]) -> None:
        """Add a member to a group."""
        known = {"serialNumber": True, "group": True, "password": True}
        need = ("serialNumber", "group", *self.must_be_given())
        given = self.begin("addMember", "addMember", words, known, need=need)
        conf = Conf(self.world)
        group = ha.add_member(self.world, conf, given["group"], given["serialNumber"], given.get("password"))
        self.world.say(JOINED.format(given["serialNumber"], group.serial))
        self.world.say(CREATED_GROUP.format(**self.facts(group)))

    def list_groups(self, words: Sequence[str]) -> None:
        """Show the global settings and groups, or one group; without HAOnly a password is asked, any will do (seen)."""
        given = self.begin("show", "listGroups", words, {"group": True, "password": True}, need=())
        world, conf = self.world, Conf(self.world)
        if "password" not in given and not ha.only(conf) and world.generation.asks != "never":
            ask_pin(world)
        shown = [ha.find(world, conf, given["group"])] if given.get("group") else ha.groups(world, conf)
        retry = conf.get(HA, "reconnAtt") or "0"
        world.say(
            GLOBAL.format(
                recovery="disabled" if retry == "0" else "enabled",
                retry=retry,
                interval=conf.get(HA, "AutoReconnectInterval") or "60",
                only="yes" if ha.only(conf) else "no",
            )
        )
        if world.fault("show-nothing"):
            return
        slots = {one.serial: slot for slot, one in enumerate(partitions(world, conf)) if one}
        for group in shown:
            world.say(GROUP.format(**self.facts(group), sync=NO_SYNC if ha.only(conf) else "no"))
            for serial, row in ha.members(world, conf, group):
                slot = "------" if ha.only(conf) or row is None else str(slots[serial])
                alive = (row.label, "alive") if row else ("------------", "down")
                world.say(MEMBER_ROW.format(slot, serial, *alive))

    def facts(self, group: Group) -> dict[str, object]:
        """Give what the texts about a group have places for."""
        return {"label": group.label, "serial": group.serial, "slot": group.slot, "members": ", ".join(group.members)}

    def ha_only(self, words: Sequence[str]) -> None:
        """Switch HAOnly."""
        given = self.begin("HAOnly", "haonly", words, {"enable": False, "disable": False, "show": False}, need=())
        conf = Conf(self.world)
        if "enable" in given or "disable" in given:
            conf.put(HA, "HAOnly", "1" if "enable" in given else "0")
            conf.save()
        self.world.say(HA_ONLY.format("enabled" if ha.only(conf) else "disabled"))

    def retry(self, words: Sequence[str]) -> None:
        """Set how often it is tried to recover a member; -1 is for ever."""
        count = self.begin("autoRecovery", "retry", words, {"count": True}, need=("count",))["count"]
        self.set_ha("reconnAtt", count)
        self.world.say(RETRY.format(count))

    def interval(self, words: Sequence[str]) -> None:
        """Set the seconds between two tries."""
        seconds = self.begin("autoRecovery", "interval", words, {"interval": True}, need=("interval",))["interval"]
        self.set_ha("AutoReconnectInterval", seconds)
        self.world.say(INTERVAL.format(seconds))

    def set_ha(self, key: str, value: str) -> None:
        """Set one key of the HA configuration."""
        conf = Conf(self.world)
        conf.put(HA, key, value)
        conf.save()

    def slot_list(self) -> None:
        """List the slots; the members' stay visible here even with HAOnly (documented)."""
        self.world.begin("slotList")
        world, conf = self.world, Conf(self.world)
        version = world.generation.lunacm_banner.split(" v")[1].split(" ")[0].rstrip(".").split("-")[0]
        net = {"model": f"LunaSA {version}", "version": version, "kind": "Net Token Slot"}
        virtual = {"model": "LunaVirtual", "version": version, "kind": "HA Virtual Card Slot"}
        rows = enumerate(partitions(world, conf), world.generation.first_slot)
        parts = [SLOT.format(slot=slot, label=one.label, serial=one.serial, **net) for slot, one in rows if one]
        groups = ha.groups(world, conf)
        parts += [SLOT.format(slot=one.slot, label=one.label, serial=one.serial, **virtual) for one in groups]
        first = world.generation.first_slot if parts else "None"
        world.say("\n".join([SLOTS_HEAD, *parts, CURRENT.format(first), DONE]))

    def list_servers(self) -> None:
        """List the registered appliances; only that the command is there was seen."""
        self.world.begin("listServers")
        servers = Conf(self.world).servers()
        lines = [f"\tServer Hostname: {one}" for one in servers] or ["\tThere are no servers registered."]
        self.world.say("\n".join([*lines, DONE]))


def main(folder: str) -> None:
    """Run as the program."""
    Lunacm(World(folder, "lunacm")).run(sys.argv[1:])
