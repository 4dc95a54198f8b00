"""Knows what may be shown of a published bundle: names, addresses, fingerprints and dates, never a key or a PIN."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from hsm_enrol.errors import WireError
from hsm_enrol.wire.bundle import Bundle
from hsm_enrol.wire.certificate import read_certificate, unpem
from hsm_verifier.vault import UNTIL_MENDED, Entry, VaultError


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A certificate: SHA-256 fingerprint in colons, and its dates in Unix seconds."""

    fingerprint: str
    not_before: int
    not_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerShown:
    """One appliance."""

    address: str
    port: int
    certificate: Shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One bundle of a group; `pin_id` is None when it carries no PIN."""

    group: str
    serial: int
    client: str
    certificate: Shown
    servers: tuple[ServerShown, ...]
    label: str
    members: tuple[str, ...]
    pin_id: str | None

    @property
    def first_expiry(self) -> int:
        """Give when the first of its certificates ends: from then on a member is missing, or all are."""
        return min(self.certificate.not_after, *(one.certificate.not_after for one in self.servers))


class Bundles(Protocol):
    """What is wanted of a vault here."""

    def groups(self) -> tuple[str, ...]:
        """Give the names of groups that have bundles."""

    def serials(self, group: str) -> tuple[int, ...]:
        """Give a group's serials."""

    def current(self, group: str) -> Entry | None:
        """Give the newest bundle of a group."""

    def read(self, group: str, serial: int) -> bytes:
        """Open a bundle."""


class Catalogue:
    """The current bundle of each group; each is opened at every look, and understood once."""

    def __init__(self, bundles: Bundles) -> None:
        """Open nothing yet."""
        self._bundles = bundles
        self._known: dict[tuple[str, int], Published] = {}

    def current(self) -> tuple[Published, ...]:
        """Give what is handed out now, by group name. Raises VaultError as `look`."""
        return self.look()[0]

    def look(self) -> tuple[tuple[Published, ...], dict[str, str]]:
        """Give what is handed out now, and group by group what is wrong with those that cannot be.

        Raises VaultError when the store is away.
        """
        found, broken = [], {}
        for group in self._bundles.groups():
            try:
                one = self._current(group)
            except VaultError as error:
                if error.again_in < UNTIL_MENDED:
                    raise
                broken[group] = str(error)
            except WireError as error:
                broken[group] = f"{error.what} ({error.rule})"
            else:
                found += [one] if one is not None else []
        return tuple(found), broken

    def _current(self, group: str) -> Published | None:
        entry = self._bundles.current(group)
        if entry is None:
            return None
        key = (group, entry.serial)
        content = self._bundles.read(*key)  # as each answer does: what opened once may have been written over since
        if key not in self._known:
            self._known[key] = publish(group, Bundle.from_bytes(content))
        return self._known[key]


def publish(group: str, bundle: Bundle) -> Published:
    """Give a bundle's showable part."""
    return Published(
        group=group,
        serial=bundle.serial,
        client=bundle.client.name,
        certificate=show(bundle.client.certificate),
        servers=tuple(
            ServerShown(address=one.address, port=one.port, certificate=show(one.certificate)) for one in bundle.servers
        ),
        label=bundle.ha.label,
        members=bundle.ha.members,
        pin_id=bundle.pin.id if bundle.pin else None,
    )


def show(pem: str) -> Shown:
    """Read a certificate's fingerprint and dates. Raises ValueError for what is none."""
    block = unpem(pem)
    if block is None:
        raise ValueError("not one PEM block")
    certificate = read_certificate(block[1])
    digest = hashlib.sha256(block[1]).hexdigest().upper()
    return Shown(
        fingerprint=":".join(digest[at : at + 2] for at in range(0, len(digest), 2)),
        not_before=certificate.not_before,
        not_after=certificate.not_after,
    )
