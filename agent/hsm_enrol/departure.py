"""Knows how Chrystoki.conf reads without us: our group and servers out, the client's own keys as they were before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hsm_enrol import chrystoki
from hsm_enrol.chrystoki import CLIENT, HA, SYNCHRONIZE, TOKENS
from hsm_enrol.conf_changes import differences, server_keys, without
from hsm_enrol.model import Change, Desired

_GROUP_KEYS = ("Label", "SN", "Members")


def departure(text: str, installed: Desired, before: Mapping[str, str | None]) -> Iterator[Change]:
    """Give the changes that take `installed` out of a conf; `before` is the record's, "Section/Key" to old value.

    A shared key that somebody set to something else meanwhile stays as it is. Raises chrystoki.NotUnderstood.
    """
    conf = chrystoki.parse(text)
    wanted: dict[tuple[str, str], str | None] = dict(server_keys(conf, (), installed.servers))
    rows = {
        number: tuple(chrystoki.get(conf, TOKENS, f"VirtualToken{number:02}{key}") for key in _GROUP_KEYS)
        for number in chrystoki.groups(conf)
    }
    ours = [number for number, row in rows.items() if row[0] == installed.ha.label]
    left = without(rows, ours)
    for number in rows:
        for key, value in zip(_GROUP_KEYS, left.get(number, (None, None, None)), strict=True):
            wanted[TOKENS, f"VirtualToken{number:02}{key}"] = value
    wanted[SYNCHRONIZE, installed.ha.label] = None
    for (section, key), value in shared_now(installed).items():
        if chrystoki.get(conf, section, key) == value:
            wanted[section, key] = before.get(f"{section}/{key}")
    yield from differences(conf, wanted, before.values())


def shared_now(installed: Desired) -> dict[tuple[str, str], str]:
    """Give the client's own keys as an installation sets them."""
    return {
        (CLIENT, "ClientCertFile"): installed.paths.cert,
        (CLIENT, "ClientPrivKeyFile"): installed.paths.key,
        (CLIENT, "ServerCAFile"): installed.paths.ca_file,
        (CLIENT, "NetClient"): "1",
        (HA, "HAOnly"): "1" if installed.ha.only else "0",
        (HA, "reconnAtt"): str(installed.ha.retry),
        (HA, "AutoReconnectInterval"): str(installed.ha.interval),
    }
