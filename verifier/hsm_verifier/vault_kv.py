"""Knows how bundles rest in OpenBao or HashiCorp Vault (KV version 2), for several verifiers that share them.

Below the prefix `counter` holds the last serial given, moved by check-and-set, and `bundles/<group>/<serial>` one
bundle, created by check-and-set of nothing, so that it is never overwritten; a second version is refused when read.
Which bundle is current is asked each time: two verifiers that disagreed for a second would alarm about each other.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from hsm_enrol.errors import WireError
from hsm_enrol.wire.bundle import Bundle
from hsm_verifier.aside import Aside
from hsm_verifier.vault import GROUP, Bundles, VaultError, check_group, numbered

TRIES = 20  # of drawing a serial while others publish too
_SERIAL = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)


class Kv(Protocol):
    """A key-value store with versions; keys are relative to our prefix."""

    def read(self, key: str) -> tuple[dict[str, Any], int] | None:
        """Give a secret and its version, None when there is none, an empty one when it was deleted. VaultError."""

    def write(self, key: str, secret: dict[str, Any], *, version: int) -> bool:
        """Write where `version` is the current one (0: none yet); False when it is not. Raises VaultError."""

    def names(self, key: str) -> tuple[str, ...]:
        """Give the names below a key. Raises VaultError."""


class KvAside:
    """A store that is asked aside: it is far away, and other turns go on meanwhile."""

    def __init__(self, kv: Kv, aside: Aside) -> None:
        """Take the store."""
        self._kv, self._aside = kv, aside

    def read(self, key: str) -> tuple[dict[str, Any], int] | None:
        """Give a secret and its version."""
        return self._aside(lambda: self._kv.read(key))

    def write(self, key: str, secret: dict[str, Any], *, version: int) -> bool:
        """Write where `version` is the current one."""
        return self._aside(lambda: self._kv.write(key, secret, version=version))

    def names(self, key: str) -> tuple[str, ...]:
        """Give the names below a key."""
        return self._aside(lambda: self._kv.names(key))


class KvVault(Bundles):
    """Bundles below one prefix of a KV store."""

    def __init__(self, kv: Kv) -> None:
        """Connect when asked."""
        super().__init__()
        self._kv = kv

    def read(self, group: str, serial: int) -> bytes:
        """Give a bundle's exact bytes. Raises VaultError when it is missing, was changed, or is another's."""
        where = f"bundle {group} {serial}"
        found = self._kv.read(self._place(group, serial))
        secret, version = found or ({}, 0)
        if not secret:
            raise VaultError(f"{where} is not in the store")
        text = secret.get("bundle")
        if version != 1:
            raise VaultError(f"{where} was written again after it was published")
        if not isinstance(text, str) or (secret.get("group"), secret.get("serial")) != (group, str(serial)):
            raise VaultError(f"{where} is not what was published there")
        content = text.encode()
        try:
            same = Bundle.from_bytes(content).serial == serial
        except WireError as error:
            raise VaultError(f"{where} does not open ({error.what})") from None
        if not same:
            raise VaultError(f"{where} holds another serial's bundle")
        return content

    def put(self, group: str, bundle: Bundle, now: float) -> int:
        """Draw a serial, then publish: a serial that was perhaps seen is never given twice."""
        check_group(group)
        for _ in range(TRIES):
            last, version = self._counter()
            serial, content = numbered(bundle, last, now)
            if self._kv.write("counter", {"last": str(serial)}, version=version):
                break
        else:
            raise VaultError("others keep publishing; try again", again_in=5.0)
        secret = {"group": group, "serial": str(serial), "bundle": content.decode()}
        if not self._kv.write(self._place(group, serial), secret, version=0):
            raise VaultError(f"bundle {group} {serial} is in the store already; nothing was changed")
        return serial

    def groups(self) -> tuple[str, ...]:
        """Give the names of groups that have bundles."""
        names = (name.removesuffix("/") for name in self._kv.names("bundles") if name.endswith("/"))
        return tuple(sorted(name for name in names if GROUP.fullmatch(name)))

    def serials(self, group: str) -> tuple[int, ...]:
        """Give a group's serials, oldest first."""
        names = self._kv.names(f"bundles/{check_group(group)}")
        return tuple(sorted(int(name) for name in names if _SERIAL.fullmatch(name)))

    def _counter(self) -> tuple[int, int]:
        """Give the last serial and the counter's version; a lost counter is made up from what is published."""
        secret, version = self._kv.read("counter") or ({}, 0)
        if not secret:
            return max(self.everything(), default=0), version
        last = secret.get("last")
        if not isinstance(last, str) or not _SERIAL.fullmatch(last):
            raise VaultError("the counter of serials does not hold a serial")
        return int(last), version

    @staticmethod
    def _place(group: str, serial: int) -> str:
        return f"bundles/{check_group(group)}/{serial}"
