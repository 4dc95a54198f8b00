"""Knows what `vtl` does with appliances, slots and the client's own pair; HA groups are vtl_ha's."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from lab.luna.tool import ha, vtl_ha
from lab.luna.tool import vtl_texts as texts
from lab.luna.tool.conf import CLIENT, Conf
from lab.luna.tool.ntls import numbered
from lab.luna.tool.words import begin, pick
from lab.luna.tool.world import World

PORT = "1792"  # seen: what addServer writes, whatever the appliance listens on
SERVER_KEYS = ("Name", "Port", "Htl")


def run(world: World, words: Sequence[str]) -> None:
    """Do what the words say; ends by SystemExit when that is not 0."""
    acts: dict[str, Callable[[World, Sequence[str]], None]] = {
        "verify": verify,
        "addServer": add_server,
        "deleteServer": delete_server,
        "listServers": list_servers,
        "listSlots": list_slots,
        "createCert": create_cert,
    }
    if world.generation.ha != "none":
        acts["haAdmin"] = vtl_ha.run
    if world.generation.vtl_banner:
        world.say(world.generation.vtl_banner)
    command = pick(words[0].removeprefix("-"), acts) if words else None
    if command is None:
        if words:
            world.say(texts.UNKNOWN.format(words[0]))
        world.leave(texts.USAGE.format(", ".join(acts)), world.generation.usage_status)
    acts[command](world, words[1:])
    world.end()


# --- appliances


def add_server(world: World, words: Sequence[str]) -> None:
    """Register an appliance: copies its certificate, adds it to the CA file, writes the conf. Nothing is dialled."""
    given = begin(world, "addServer", words, {"n": True, "c": True}, need=("n", "c"))
    conf, name = Conf(world), given["n"]
    if name.lower() in (one.lower() for one in conf.servers()):
        world.leave(texts.ALREADY, 1)
    certificate = _read(given["c"] if os.path.exists(given["c"]) else world.place(given["c"]))
    if "-----BEGIN CERTIFICATE-----" not in certificate:
        world.leave(texts.BAD_CERTIFICATE, 0)
    ca_file = conf.get(CLIENT, "ServerCAFile") or f"{world.prefix}/cert/server/CAFile.pem"
    place = world.place(ca_file)
    _write(f"{os.path.dirname(place)}/{name}Cert.pem", certificate)
    _write(place, _read(place) + certificate)
    if world.fault("litter"):
        _write(f"{os.path.dirname(place)}/{name}Cert.pem.bak", certificate)
    number = conf.free(CLIENT, "ServerName")
    for key, value in zip(SERVER_KEYS, (name, PORT, "0"), strict=True):
        conf.put(CLIENT, f"Server{key}{number:02}", value)
    conf.put(CLIENT, "ServerCAFile", ca_file)
    conf.put(CLIENT, "NetClient", "1")
    conf.save()
    world.say(texts.ADDED.format(name))


def delete_server(world: World, words: Sequence[str]) -> None:
    """Forget an appliance; the later ones move up. What the real one does and says is not in the public record."""
    name = begin(world, "deleteServer", words, {"n": True}, need=("n",))["n"]
    conf = Conf(world)
    if name not in conf.servers():
        world.leave(texts.NOT_LISTED.format(name), 0)
    place = world.place(conf.get(CLIENT, "ServerCAFile"))
    copy = f"{os.path.dirname(place)}/{name}Cert.pem"
    _write(place, _read(place).replace(_read(copy), "", 1))
    os.remove(copy)
    kept = []
    for number, one in list(conf.numbered(CLIENT, "ServerName")):
        keys = [f"Server{key}{number:02}" for key in SERVER_KEYS]
        kept += [[conf.get(CLIENT, key) for key in keys]] if one != name else []
        for key in keys:
            conf.drop(CLIENT, key)
    for number, values in enumerate(kept):
        for key, value in zip(SERVER_KEYS, values, strict=True):
            conf.put(CLIENT, f"Server{key}{number:02}", value)
    conf.save()
    world.say(texts.DELETED.format(name))


def list_servers(world: World, words: Sequence[str]) -> None:
    """List the registered appliances."""
    begin(world, "listServers", words, {})
    servers = Conf(world).servers()
    world.say("\n".join(texts.SERVER.format(one) for one in servers) or texts.NO_SERVERS_LISTED)


# --- slots


def verify(world: World, words: Sequence[str]) -> None:
    """Shake hands with each appliance and list the partitions."""
    begin(world, "verify", words, {})
    conf = Conf(world)
    if not conf.servers():
        world.leave(texts.NO_SERVERS, 0)
    rows = [(slot, one.serial, one.label) for slot, one in numbered(world, conf) if one]
    if world.switches["hides"] and ha.only(conf):
        rows = [(one.slot, one.serial, one.label) for one in ha.groups(world, conf)]
    if not rows:
        world.leave(texts.NO_SLOTS, 0)
    lines = [texts.VERIFY_ROW.format(*row) for row in rows]
    world.say("\n".join([texts.VERIFY_HEAD, *lines]))


def list_slots(world: World, words: Sequence[str]) -> None:
    """List slots as applications see them, groups last; only groups under HAOnly."""
    begin(world, "listSlots", words, {})
    conf, old = Conf(world), world.generation.old_listing
    rows: list[tuple[int, str, str, str, str]] = []
    for slot, one in () if ha.only(conf) else numbered(world, conf):
        kind = "LunaNet Slot" if old else "Net Token Slot"
        rows.append((slot, kind, one.label, one.serial, "Present") if one else (slot, "-", "-", "-", "Not present"))
    rows += [(one.slot, "HA Virtual Card Slot", one.label, one.serial, "Present") for one in ha.groups(world, conf)]
    if old:
        lines = [texts.SLOTS_HEAD.format(len(rows)), texts.OLD_ROW.format(*texts.OLD_COLUMNS)]
        lines += [texts.OLD_ROW.format(f"slot #{slot}", *rest) for slot, *rest in rows]
    else:
        lines = [texts.NEW_HEAD, *(texts.NEW_ROW.format(*row) for row in rows)]
    world.say("\n".join(lines))


# --- the client's own pair


def create_cert(world: World, words: Sequence[str]) -> None:
    """Make a pair and point the conf at it."""
    import subprocess  # noqa: PLC0415  the other commands start without it

    name = begin(world, "createCert", words, {"n": True}, need=("n",))["n"]
    conf = Conf(world)
    folder = os.path.dirname(conf.get(CLIENT, "ClientCertFile")) or f"{world.prefix}/cert/client"
    certificate, key = f"{folder}/{name}.pem", f"{folder}/{name}Key.pem"
    # The standard library makes no RSA keys: the interpreter that installed us has a package that does.
    maker = [*world.maker, name, world.place(certificate), world.place(key)]
    if subprocess.run(maker, capture_output=True, check=False).returncode:
        world.leave(texts.NOT_MADE, 0)
    conf.put(CLIENT, "ClientCertFile", certificate)
    conf.put(CLIENT, "ClientPrivKeyFile", key)
    conf.save()
    world.say(texts.KEY_MADE.format(key) + "\n" + texts.CERTIFICATE_MADE.format(certificate))


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def main(folder: str) -> None:
    """Run as the program."""
    run(World(folder, "vtl"), sys.argv[1:])
