"""Knows what `vtl` does and says, per generation of the client.

Marks beside the texts: D documented by the vendor, S seen in transcripts or in scripts that match it, M made up.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from lab.luna.tool import ha
from lab.luna.tool.conf import CLIENT, HA, Conf
from lab.luna.tool.ha import Group, Quit, Refused
from lab.luna.tool.ntls import partitions
from lab.luna.tool.words import options, pick
from lab.luna.tool.world import Row, World

USAGE = """Usage: vtl <command>
  commands: {0}"""  # M
UNKNOWN = "Unknown command: {0}"  # M
HA_USAGE = """Usage: vtl haAdmin {0}newGroup -label <label> -serialNum <serial> -password <password>
       vtl haAdmin {0}addMember -group <label or number> -serialNum <serial> -password <password>
       vtl haAdmin {0}HAOnly {{-enable | -disable | -show}}
       vtl haAdmin {0}autoRecovery {{-retry <count> | -interval <seconds>}}
       vtl haAdmin {0}show"""  # M, the words in it S
ADDED = "\nNew server {0} successfully added to server list."  # S
ALREADY = "Error: This server is already registered."  # S, with a status that is not 0 (implied by scripts)
DELETED = "Server {0} successfully removed from server list."  # M
NOT_LISTED = "Error: Server {0} is not in the server list."  # M
BAD_CERTIFICATE = "Error: Unable to read the server certificate file."  # M
SERVER = "Server: {0}  HTL required: no"  # S
NO_SERVERS_LISTED = "There are no servers registered."  # S, 10.9
NO_SERVERS = "Error: There are no registered servers"  # S, by one author
NO_SLOTS = "Error: Unable to find any Luna SA slots/partitions among registered server(s)"  # S, on stdout, status 0
VERIFY_HEAD = """The following Luna SA Slots/Partitions were found:

Slot\tSerial #        \tLabel
====\t================\t====="""  # S, tabs between the columns
VERIFY_ROW = "{0:>4}\t{1:>16} \t{2}"  # S
KEY_MADE = "Private Key created and written to: {0}"  # S
CERTIFICATE_MADE = "Certificate created and written to: {0}"  # S
NOT_MADE = (
    "Error:  Could not create client certificate or private key. Ensure the current user has read and write permissions"
    " to the directory indicated by the 'ClientCertFile' and 'ClientPrivKeyFile' lines in the Chrystoki.conf file."
)  # S, 10.9
SLOTS_HEAD = "Number of slots: {0}\n\nThe following slots were found:\n"  # D, 5.4 to 7.1
OLD_COLUMNS = ("Slot #", "Description", "Label", "Serial #", "Status")  # D
OLD_ROW = "{0:<10}{1:<22}{2:<33}{3:<17}{4}"  # M: the columns' widths, which the documents do not keep
NEW_HEAD = "Slot Description          Label                            Serial #         Status"  # S
NEW_ROW = "{0:>4} {1:<20} {2:<32} {3:<16} {4}"  # S
GLOBAL_HEAD = "================ HA Global Configuration Settings ==============="  # S, 5.4
GROUP_HEAD = "================ HA Group and Member Information ================"  # S, 5.1 and 5.4
GLOBAL = """
HA Auto Recovery:  {recovery}
Maximum Auto Recovery Retry:  {retry}
Auto Recovery Poll Interval:  {interval} seconds
HA Logging:  disabled
Only Show HA Slots:  {only}
"""  # S
GROUP = """
HA Group Label:  {label}
HA Group Number:  {serial}
HA Group Slot #:  {slot}
Synchronization:  enabled
Group Members:  {members}
Standby members:  <none>

Slot #    Member S/N                      Member Label    Status
======    ==========                      ============    ======"""  # S
MEMBER_ROW = "{0:<10}{1:<32}{2:<16}{3}"  # S
CANCELLED = "The operation was cancelled, nothing was changed."  # M
HA_ONLY = '"HA Only" has been {0}.'  # M
RETRY = "HA Auto Recovery Count has been set to {0}"  # D, of lunacm
INTERVAL = "HA Auto Recovery Interval has been set to {0} seconds"  # M

COMMANDS = ("verify", "addServer", "deleteServer", "listServers", "listSlots", "createCert", "haAdmin")
PORT = "1792"  # S: what addServer always writes


class Vtl:
    """One run of vtl."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.known = COMMANDS if world.generation.ha != "none" else COMMANDS[:-1]

    def run(self, words: Sequence[str]) -> None:
        """Do what the words say; ends by SystemExit when that is not 0."""
        world = self.world
        if world.generation.vtl_banner:
            world.say(world.generation.vtl_banner)
        command = pick(words[0].removeprefix("-"), self.known) if words else None
        if command is None:
            if words:
                world.say(UNKNOWN.format(words[0]))
            world.leave(USAGE.format(", ".join(self.known)), world.generation.usage_status)
        acts: dict[str, Callable[[Sequence[str]], None]] = {
            "verify": self.verify,
            "addServer": self.add_server,
            "deleteServer": self.delete_server,
            "listServers": self.list_servers,
            "listSlots": self.list_slots,
            "createCert": self.create_cert,
            "haAdmin": self.ha_admin,
        }
        acts[command](words[1:])
        world.end()

    def begin(
        self, command: str, words: Sequence[str], known: dict[str, bool], *, need: Sequence[str]
    ) -> dict[str, str]:
        """Name the command, read its options; ends with a usage text when they are not understood."""
        self.world.begin(command)
        given = options(words, known)
        if given is None or not all(given.get(one) for one in need):
            wanted = " ".join(f"-{one} <{one}>" for one in known)
            self.world.leave(f"Usage: vtl {command} {wanted}", self.world.generation.usage_status)
        return given

    # --- servers

    def add_server(self, words: Sequence[str]) -> None:
        """Register an appliance: copies its certificate, adds it to the CA file, writes the conf."""
        given = self.begin("addServer", words, {"n": True, "c": True}, need=("n", "c"))
        world, conf, name = self.world, Conf(self.world), given["n"]
        if name.lower() in (one.lower() for one in conf.servers()):
            world.leave(ALREADY, 1)
        source = given["c"] if os.path.exists(given["c"]) else world.place(given["c"])
        certificate = _text(source)
        if "-----BEGIN CERTIFICATE-----" not in certificate:
            world.leave(BAD_CERTIFICATE, 0)
        ca_file = conf.get(CLIENT, "ServerCAFile") or f"{world.prefix}/cert/server/CAFile.pem"
        place = world.place(ca_file)
        with open(f"{os.path.dirname(place)}/{name}Cert.pem", "w", encoding="ascii") as file:
            file.write(certificate)
        with open(place, "a", encoding="ascii") as file:
            file.write(certificate)
        number = conf.free(CLIENT, "ServerName")
        for key, value in (("Name", name), ("Port", PORT), ("Htl", "0")):
            conf.put(CLIENT, f"Server{key}{number:02}", value)
        conf.put(CLIENT, "ServerCAFile", ca_file)
        conf.put(CLIENT, "NetClient", "1")
        conf.save()
        world.say(ADDED.format(name))

    def delete_server(self, words: Sequence[str]) -> None:
        """Forget an appliance; the later ones move up. What the real one does and says is not in the public record."""
        name = self.begin("deleteServer", words, {"n": True}, need=("n",))["n"]
        world, conf = self.world, Conf(self.world)
        if name not in conf.servers():
            world.leave(NOT_LISTED.format(name), 0)
        place = world.place(conf.get(CLIENT, "ServerCAFile"))
        copy = f"{os.path.dirname(place)}/{name}Cert.pem"
        rest = _text(place).replace(_text(copy), "", 1)
        with open(place, "w", encoding="ascii") as file:
            file.write(rest)
        os.remove(copy)
        rows = []
        for number, one in list(conf.numbered(CLIENT, "ServerName")):
            keys = [f"Server{key}{number:02}" for key in ("Name", "Port", "Htl")]
            rows += [[conf.get(CLIENT, key) for key in keys]] if one != name else []
            for key in keys:
                conf.drop(CLIENT, key)
        for number, row in enumerate(rows):
            for key, value in zip(("Name", "Port", "Htl"), row, strict=True):
                conf.put(CLIENT, f"Server{key}{number:02}", value)
        conf.save()
        world.say(DELETED.format(name))

    def list_servers(self, words: Sequence[str]) -> None:
        """List the registered appliances."""
        self.begin("listServers", words, {}, need=())
        servers = Conf(self.world).servers()
        self.world.say("\n".join(SERVER.format(one) for one in servers) or NO_SERVERS_LISTED)

    # --- slots

    def verify(self, words: Sequence[str]) -> None:
        """Shake hands with each appliance and list the partitions."""
        self.begin("verify", words, {}, need=())
        world, conf = self.world, Conf(self.world)
        if not conf.servers():
            world.leave(NO_SERVERS, 0)
        rows = _numbered(world, partitions(world, conf))
        if not rows:
            world.leave(NO_SLOTS, 0)
        world.say("\n".join([VERIFY_HEAD, *(VERIFY_ROW.format(slot, one.serial, one.label) for slot, one in rows)]))

    def list_slots(self, words: Sequence[str]) -> None:
        """List slots as applications see them, with the groups'; only those under HAOnly."""
        self.begin("listSlots", words, {}, need=())
        world, conf = self.world, Conf(self.world)
        found = partitions(world, conf)
        rows: list[tuple[int, str, str, str, str]] = []
        if not ha.only(conf):
            kind = "LunaNet Slot" if world.generation.old_listing else "Net Token Slot"
            for slot, one in enumerate(found, world.generation.first_slot):
                rows.append(
                    (slot, kind, one.label, one.serial, "Present") if one else (slot, "-", "-", "-", "Not present")
                )
        rows += [(one.slot, "HA Virtual Card Slot", one.label, one.serial, "Present") for one in ha.groups(world, conf)]
        if world.generation.old_listing:
            lines = [SLOTS_HEAD.format(len(rows)), OLD_ROW.format(*OLD_COLUMNS)]
            lines += [OLD_ROW.format(f"slot #{slot}", *rest) for slot, *rest in rows]
        else:
            lines = [NEW_HEAD, *(NEW_ROW.format(*row) for row in rows)]
        world.say("\n".join(lines))

    # --- the client's own pair

    def create_cert(self, words: Sequence[str]) -> None:
        """Make a pair and point the conf at it."""
        name = self.begin("createCert", words, {"n": True}, need=("n",))["n"]
        world, conf = self.world, Conf(self.world)
        folder = os.path.dirname(conf.get(CLIENT, "ClientCertFile")) or f"{world.prefix}/cert/client"
        certificate, key = f"{folder}/{name}.pem", f"{folder}/{name}Key.pem"
        import subprocess  # noqa: PLC0415  the other commands start without it

        # The standard library makes no RSA keys: the interpreter that installed us has a package that does.
        made = subprocess.run(
            [*world.maker, name, world.place(certificate), world.place(key)], capture_output=True, check=False
        )
        if made.returncode:
            world.leave(NOT_MADE, 0)
        conf.put(CLIENT, "ClientCertFile", certificate)
        conf.put(CLIENT, "ClientPrivKeyFile", key)
        conf.save()
        world.say(KEY_MADE.format(key) + "\n" + CERTIFICATE_MADE.format(certificate))

    # --- HA groups

    def ha_admin(self, words: Sequence[str]) -> None:
        """Do what stands after haAdmin, dashed or not as the generation has it."""
        word = words[0] if words else ""
        form = self.world.generation.ha
        known = ("newGroup", "addMember", "HAOnly", "autoRecovery", "show")
        act = pick(word.removeprefix("-"), known) if word.startswith("-") or form == "both" else None
        if act == "newGroup":
            self.new_group(words[1:])
        elif act == "addMember":
            self.add_member(words[1:])
        elif act == "HAOnly":
            self.ha_only(words[1:])
        elif act == "autoRecovery":
            self.auto_recovery(words[1:])
        elif act == "show":
            self.show(words[1:])
        else:
            self.world.leave(HA_USAGE.format("-" if form == "dashed" else ""), self.world.generation.usage_status)

    def new_group(self, words: Sequence[str]) -> None:
        """Found a group; prints it."""
        known = {"label": True, "serialNum": True, "password": True}
        given = self.begin("newGroup", words, known, need=("label", "serialNum"))
        conf = Conf(self.world)
        try:
            group = ha.new_group(self.world, conf, given["label"], given["serialNum"], given.get("password"))
        except (Refused, Quit) as error:
            self.refuse(error)
        self.world.say(self.described(conf, group))

    def add_member(self, words: Sequence[str]) -> None:
        """Add a member to a group; prints it."""
        known = {"group": True, "serialNum": True, "password": True}
        given = self.begin("addMember", words, known, need=("group", "serialNum"))
        conf = Conf(self.world)
        try:
            group = ha.add_member(self.world, conf, given["group"], given["serialNum"], given.get("password"))
        except (Refused, Quit) as error:
            self.refuse(error)
        self.world.say(self.described(conf, group))

    def refuse(self, error: Refused | Quit) -> None:
        """Say why not; with status 0, as vtl does."""
        if isinstance(error, Quit):
            self.world.leave(CANCELLED, 0)
        generation, why = self.world.generation, str(error)
        self.world.leave({"incorrect": generation.refusal, "locked": generation.locked}.get(why, f"Error: {why}"), 0)

    def ha_only(self, words: Sequence[str]) -> None:
        """Switch HAOnly; both `enable` and `-enable` are documented."""
        self.world.begin("HAOnly")
        conf = Conf(self.world)
        act = pick(words[0].removeprefix("-"), ("enable", "disable", "show")) if words else None
        if act is None:
            self.world.leave(
                "Usage: vtl haAdmin HAOnly {-enable | -disable | -show}", self.world.generation.usage_status
            )
        if act != "show":
            conf.put(HA, "HAOnly", "1" if act == "enable" else "0")
            conf.save()
        self.world.say(HA_ONLY.format("enabled" if ha.only(conf) else "disabled"))

    def auto_recovery(self, words: Sequence[str]) -> None:
        """Set how often and how long apart it is tried to recover a member."""
        given = self.begin("autoRecovery", words, {"retry": True, "interval": True}, need=())
        conf = Conf(self.world)
        for option, key, text in (("retry", "reconnAtt", RETRY), ("interval", "AutoReconnectInterval", INTERVAL)):
            if option in given:
                conf.put(HA, key, given[option])
                self.world.say(text.format(given[option]))
        conf.save()

    def show(self, words: Sequence[str]) -> None:
        """Show the global settings and each group."""
        self.begin("show", words, {}, need=())
        world, conf = self.world, Conf(self.world)
        parts = []
        if world.generation.ha == "both":  # the published notes of a 5.1 client have no such part
            retry = conf.get(HA, "reconnAtt") or "0"
            parts.append(
                GLOBAL_HEAD
                + GLOBAL.format(
                    recovery="disabled" if retry == "0" else "enabled",
                    retry=retry,
                    interval=conf.get(HA, "AutoReconnectInterval") or "60",
                    only="yes" if ha.only(conf) else "no",
                )
            )
        parts.append(GROUP_HEAD)
        if not world.fault("show-nothing"):
            parts += [self.described(conf, one) for one in ha.groups(world, conf)]
        world.say("\n".join(parts))

    def described(self, conf: Conf, group: Group) -> str:
        """Give the text about a group."""
        lines = [
            GROUP.format(label=group.label, serial=group.serial, slot=group.slot, members=", ".join(group.members)),
        ]
        slots = {one.serial: slot for slot, one in _numbered(self.world, partitions(self.world, conf))}
        for serial, row in ha.members(self.world, conf, group):
            slot = "------" if ha.only(conf) else str(slots.get(serial, "-"))
            lines.append(
                MEMBER_ROW.format(slot, serial, row.label if row else "------------", "alive" if row else "down")
            )
        return "\n".join(lines)


def _numbered(world: World, found: Sequence[Row | None]) -> list[tuple[int, Row]]:
    """Give partitions with their slots; an appliance that is away moves nobody here, its slot stays empty."""
    return [(slot, one) for slot, one in enumerate(found, world.generation.first_slot) if one]


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def main(folder: str) -> None:
    """Run as the program."""
    Vtl(World(folder, "vtl")).run(sys.argv[1:])
