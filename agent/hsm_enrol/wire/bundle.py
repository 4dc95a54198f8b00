"""Knows what the verifying party hands over, each field by its grammar (A5); whether it fits together is pairs.py's."""

from __future__ import annotations

import re
from dataclasses import field
from ipaddress import ip_address
from typing import Any

from hsm_enrol.errors import WireError
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.addresses import meant_by
from hsm_enrol.wire.assertion import HOST_NAME
from hsm_enrol.wire.pairs import check_client, check_servers
from hsm_enrol.wire.strict import Fields, dump_json, parse_json

MAX_BUNDLE = 96 * 1024
MAX_SERVERS = MAX_MEMBERS = 16
LONGEST_ADDRESS = 200  # `<address>Cert.pem` has to be a file name
CLIENT_NAME = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}"
LABEL = r"[A-Za-z0-9_.-]{1,32}"
MEMBER = r"[1-9][0-9]{0,19}"
PIN_ID = r"[A-Za-z0-9_-]{8,64}"
PEM = r"-----BEGIN [A-Z0-9 ]{1,40}-----\n[A-Za-z0-9+/=\n]{1,16384}-----END [A-Z0-9 ]{1,40}-----\n?"
_NUMBER = r"[0-9]+|0[Xx][0-9A-Fa-f]*"
_ADDRESS = r"[A-Za-z0-9.:-]{1,200}"
FOREVER = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The pair that the group shares: a logical name, two PEM texts."""

    name: str
    certificate: str
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One appliance: the address that is dialled, its NTLS port, its certificate as PEM."""

    address: str
    port: int
    certificate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ha:
    """The HA group: label, members' serials; `retry` counts tries to recover, `interval` is seconds between them.

    Luna's "for ever" is -1 (luna client documentation, hagroup retry). E4 has no negative integers, so on the wire
    that is an absent `retry`.
    """

    label: str
    members: tuple[str, ...]
    only: bool
    retry: int
    interval: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """The partition PIN; `id` is random and stays while the PIN stays."""

    id: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """All of it. Logical names only, never a path."""

    serial: int
    client: Client
    servers: tuple[Server, ...]
    ha: Ha
    pin: Pin | None

    def to_bytes(self) -> bytes:
        """Write schema 1."""
        found: dict[str, Any] = {
            "schema": 1,
            "serial": self.serial,
            "client": {
                "name": self.client.name,
                "certificate": self.client.certificate,
                "private_key": self.client.private_key,
            },
            "servers": [
                {"address": one.address, "port": one.port, "certificate": one.certificate} for one in self.servers
            ],
            "ha": {
                "label": self.ha.label,
                "members": list(self.ha.members),
                "only": self.ha.only,
                "interval": self.ha.interval,
            },
        }
        if self.ha.retry >= 0:
            found["ha"]["retry"] = self.ha.retry
        if self.pin is not None:
            found["partition_pin"] = {"id": self.pin.id, "value": self.pin.value}
        return dump_json(found)

    @classmethod
    def from_bytes(cls, data: bytes) -> Bundle:
        """A5: read schema 1. Raises WireError; no fault holds a part of the bundle."""
        if len(data) > MAX_BUNDLE:
            raise WireError("A5", "bundle is too large")
        fields = Fields(parse_json(data), "bundle", "A5")
        fields.integer("schema", least=1, most=1)
        client, ha = fields.fields("client"), fields.fields("ha")
        found = cls(
            serial=fields.integer("serial", least=1),
            client=Client(
                name=client.text("name", CLIENT_NAME),
                certificate=client.text("certificate", PEM),
                private_key=client.text("private_key", PEM),
            ),
            servers=tuple(_server(one) for one in fields.items("servers", 1, MAX_SERVERS)),
            ha=Ha(
                label=ha.text("label", LABEL),
                members=ha.texts("members", MEMBER, 1, MAX_MEMBERS),
                only=ha.boolean("only"),
                retry=ha.integer("retry", most=500) if ha.has("retry") else FOREVER,
                interval=ha.integer("interval", least=60, most=1200),
            ),
            pin=_pin(fields.fields("partition_pin")) if fields.has("partition_pin") else None,
        )
        for one in (client, ha, fields):
            one.nothing_else()
        if len({meant_by(one.address) for one in found.servers}) != len(found.servers):
            raise WireError("A5", "two servers with one address")
        return found


def _server(value: Any) -> Server:
    fields = Fields(value, "server", "A5")
    found = Server(
        address=fields.text("address", _ADDRESS),
        port=fields.integer("port", least=1, most=65535),
        certificate=fields.text("certificate", PEM),
    )
    fields.nothing_else()
    if not is_address(found.address):
        raise fields.fault("address")
    return found


def is_address(text: str) -> bool:
    """Tell whether a text is a host name or an IP literal of at most 200 characters.

    A name whose last label is a number (`010.0.0.1`, `127.1`, `0x7f000001`) is neither: C libraries read it as an IPv4
    address of their own, and so it would pass a list of names (A7) and be dialled as something else.
    """
    try:
        ip_address(text)
    except ValueError:
        return (
            len(text) <= LONGEST_ADDRESS
            and re.fullmatch(HOST_NAME, text, re.ASCII) is not None
            and re.fullmatch(_NUMBER, text.rpartition(".")[2], re.ASCII) is None
        )
    return True


def _pin(fields: Fields) -> Pin:
    found = Pin(id=fields.text("id", PIN_ID), value=fields.text("value", r"[\x20-\x7e]{4,255}"))
    fields.nothing_else()
    return found


def check_bundle(bundle: Bundle, now: int) -> None:
    """A6: PEM types exact, certificate and key one pair, all valid at `now` (Unix seconds), no subject with two keys.

    Raises WireError("A6", word).
    """
    check_client(bundle.client.certificate, bundle.client.private_key, now)
    check_servers([one.certificate for one in bundle.servers], now)
