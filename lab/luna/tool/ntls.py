"""Knows how to reach appliances: mutual TLS with the files that Chrystoki.conf names, then the laboratory's own words.

Seen of the real client: the server's certificate is pinned, no name is compared; ReceiveTimeout bounds the wait.
"""

from __future__ import annotations

import json
import re
from typing import Any

from lab.luna.tool.conf import CLIENT, Conf
from lab.luna.tool.world import Row, World

_BLOCK = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
RECEIVE_TIMEOUT = "20000"  # ms, documented default


class Away(Exception):
    """An appliance cannot be reached, or does not let us in, or is not the one that is pinned."""


def ask(world: World, conf: Conf, server: str, question: dict[str, str]) -> dict[str, Any]:
    """Ask one appliance one question. Raises Away.

    The one liberty: what is dialled comes out of the map baked in at install, whatever ServerPortNN says (1792, which
    no laboratory can bind twice), if not so switched; an address that is not in it is away. So nothing ever leaves
    loopback.
    """
    import socket  # noqa: PLC0415  most commands shake no hands and start without it
    import ssl  # noqa: PLC0415  as above

    place = world.dial.get(server.lower())
    if place is None or (world.switches["ports"] and conf.port(server) != str(place[1])):
        raise Away(server)
    seconds = int(conf.get(CLIENT, "ReceiveTimeout") or RECEIVE_TIMEOUT) / 1000
    trusted = world.place(conf.get(CLIENT, "ServerCAFile"))
    try:
        with open(trusted, encoding="ascii", errors="replace") as file:
            pinned = [ssl.PEM_cert_to_DER_cert(one) for one in _BLOCK.findall(file.read())]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(trusted)
        certificate, key = (world.place(conf.get(CLIENT, name)) for name in ("ClientCertFile", "ClientPrivKeyFile"))
        if world.fault("pkcs1-only") and not _is_pkcs1(key):
            raise Away(server)
        context.load_cert_chain(certificate, key, password="")  # an encrypted key is not asked about, it fails
        with (
            socket.create_connection(place, timeout=seconds) as connection,
            context.wrap_socket(connection) as secure,
        ):
            if secure.getpeercert(binary_form=True) not in pinned:
                raise Away(server)
            secure.sendall(json.dumps(question).encode() + b"\n")
            with secure.makefile("rb") as lines:
                answer: dict[str, Any] = json.loads(lines.readline() or b"{}")
    except (OSError, ValueError) as error:
        raise Away(server) from error
    if not answer:  # TLS 1.3: a refused client learns it when it reads
        raise Away(server)
    return answer


def _is_pkcs1(path: str) -> bool:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read().startswith("-----BEGIN RSA PRIVATE KEY-----")


def numbered(world: World, conf: Conf) -> list[tuple[int, Row | None]]:
    """Give partitions with their slots.

    Documented: older clients list an appliance that is away as a slot `Not present`; newer ones do not, so that the
    slots after it move.
    """
    found = partitions(world, conf)
    rows = found if world.generation.old_listing else [one for one in found if one]
    return list(enumerate(rows, world.generation.first_slot))


def partitions(world: World, conf: Conf) -> list[Row | None]:
    """List the partitions on all registered appliances, in their order; None stands for an appliance that is away.

    Asked once in a run: an appliance that hangs costs ReceiveTimeout each time.
    """
    if world.rows is not None:
        return world.rows
    found: list[Row | None] = []
    for server in conf.servers():
        try:
            rows = ask(world, conf, server, {"ask": "partitions"})["partitions"]
        except Away:
            found.append(None)
        else:
            found += [Row(serial=one["serial"], label=one["label"], server=server) for one in rows]
    world.rows = [] if world.fault("no-slots") else found
    return world.rows
