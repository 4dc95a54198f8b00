"""Knows how bundles rest: each published once, numbered by one counter, never changed, never overwritten.

`Vault` keeps them in files: `<bundles>/<group>/<serial>.sealed` is nonce (12 bytes) and AES-256-GCM ciphertext, with
group and serial as associated data: a file moved, renamed or altered does not open. For several verifiers there is
`vault_kv.KvVault`. All serials come from one counter (protocol, "Bundle").
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hsm_enrol.errors import WireError
from hsm_enrol.wire.binding import lp
from hsm_enrol.wire.bundle import Bundle, check_bundle
from hsm_verifier.durable import fsync_folder, write_file
from hsm_verifier.ledger.gate import GateKey

GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_FILE = re.compile(r"([1-9][0-9]{0,15})\.sealed", re.ASCII)
_NONCE = 12
UNTIL_MENDED = 60.0  # seconds after which asking again makes sense where an operator has to mend something


class VaultError(Exception):
    """A bundle cannot be read or stored. Names group and serial, never content; `again_in` is seconds."""

    def __init__(self, text: str, *, again_in: float = UNTIL_MENDED) -> None:
        """Say how soon asking again makes sense: a busy store is back sooner than a broken bundle."""
        super().__init__(text)
        self.again_in = again_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One published bundle without its secrets: what decisions need. `gate` is None when it carries no PIN."""

    group: str
    serial: int
    gate: GateKey | None


class Bundles(ABC):
    """Published bundles, wherever they rest."""

    def __init__(self) -> None:
        """Know no entry yet."""
        self._entries: dict[tuple[str, int], Entry] = {}
        self._lock = threading.Lock()

    @abstractmethod
    def read(self, group: str, serial: int) -> bytes:
        """Open a bundle: its exact bytes. Raises VaultError when it is missing, altered or another's."""

    @abstractmethod
    def put(self, group: str, bundle: Bundle, now: float) -> int:
        """Publish a bundle for a group: gives its serial. `bundle.serial` is ignored. Raises WireError, VaultError."""

    @abstractmethod
    def groups(self) -> tuple[str, ...]:
        """Give the names of groups that have bundles."""

    @abstractmethod
    def serials(self, group: str) -> tuple[int, ...]:
        """Give a group's serials, oldest first."""

    def current(self, group: str) -> Entry | None:
        """Give the newest bundle of a group, None when nothing was published for it. Raises VaultError."""
        serials = self.serials(group)
        return self.entry(group, serials[-1]) if serials else None

    def entry(self, group: str, serial: int) -> Entry:
        """Give a bundle's public facts; opened once, since its content never changes. Raises VaultError."""
        with self._lock:
            known = self._entries.get((group, serial))
        if known is None:
            bundle = Bundle.from_bytes(self.read(group, serial))
            pin = bundle.pin
            known = Entry(
                group=group,
                serial=serial,
                gate=None if pin is None else GateKey(pin_id=pin.id, members=bundle.ha.members),
            )
            with self._lock:
                self._entries[(group, serial)] = known
        return known

    def everything(self) -> tuple[int, ...]:
        """Give the serials of all groups."""
        return tuple(serial for group in self.groups() for serial in self.serials(group))


def numbered(bundle: Bundle, last: int, now: float) -> tuple[int, bytes]:
    """Give the next serial, later than `last` and than all before a restore, and the bytes to publish. WireError."""
    serial = max(last + 1, int(now))
    whole = replace(bundle, serial=serial)
    check_bundle(whole, int(now))
    content = whole.to_bytes()
    if Bundle.from_bytes(content) != whole:
        raise WireError("A5", "bundle")
    return serial, content


def check_group(group: str) -> str:
    """Give the name back. Raises VaultError when it could be a path."""
    if not GROUP.fullmatch(group):
        raise VaultError("a group name has 1 to 64 of A-Z a-z 0-9 _ . - and begins with a letter or digit")
    return group


class Vault(Bundles):
    """Encrypted files, for one verifier: the bundles folder and the key that opens it."""

    def __init__(self, folder: Path, key: bytes) -> None:
        """Take a key of 32 bytes. Raises VaultError on another length."""
        if len(key) != 32:  # noqa: PLR2004  AES-256
            raise VaultError("the bundle key must have 32 bytes")
        super().__init__()
        self._folder = folder
        self._aead = AESGCM(key)

    def read(self, group: str, serial: int) -> bytes:
        """Open a bundle: its exact bytes. Raises VaultError when the file is missing, altered or another's."""
        try:
            raw = (self._place(group) / f"{serial}.sealed").read_bytes()
            return self._aead.decrypt(raw[:_NONCE], raw[_NONCE:], _about(group, serial))
        except (OSError, InvalidTag, ValueError) as error:
            raise VaultError(f"bundle {group} {serial} does not open ({type(error).__name__})") from None

    def put(self, group: str, bundle: Bundle, now: float) -> int:
        """Publish a bundle for a group: gives its serial. `bundle.serial` is ignored. Raises WireError, VaultError."""
        with self._publishing():
            serial, content = numbered(bundle, self._last(), now)
            place = self._place(group)
            place.mkdir(mode=0o700, exist_ok=True)
            fsync_folder(self._folder)
            nonce = os.urandom(_NONCE)
            sealed = nonce + self._aead.encrypt(nonce, content, _about(group, serial))
            # The counter first: a serial that was perhaps seen must never be given twice.
            write_file(self._folder / "last-serial", str(serial).encode(), mode=0o600, replace=True)
            write_file(place / f"{serial}.sealed", sealed, mode=0o600)
        return serial

    def groups(self) -> tuple[str, ...]:
        """Give the names of groups that have bundles."""
        return tuple(
            sorted(item.name for item in self._folder.iterdir() if item.is_dir() and GROUP.fullmatch(item.name))
        )

    def serials(self, group: str) -> tuple[int, ...]:
        """Give a group's serials, oldest first."""
        try:
            names = [item.name for item in self._place(group).iterdir()]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise VaultError(f"bundles of {group} cannot be listed ({type(error).__name__})") from None
        return tuple(sorted(int(found[1]) for name in names if (found := _FILE.fullmatch(name))))

    def _place(self, group: str) -> Path:
        return self._folder / check_group(group)

    def _last(self) -> int:
        serials = list(self.everything())
        with contextlib.suppress(FileNotFoundError, ValueError):
            serials.append(int((self._folder / "last-serial").read_text(encoding="ascii")))
        return max(serials, default=0)

    @contextlib.contextmanager
    def _publishing(self) -> Iterator[None]:
        """Let one publication at a time draw a serial, across processes."""
        handle = os.open(self._folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _about(group: str, serial: int) -> bytes:
    return lp(b"hsm-enrol/1 bundle at rest", group.encode(), str(serial).encode())
