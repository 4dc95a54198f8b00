"""Knows the few nouns that planning and acting share: what was found, what is wanted, and the steps between them.

Every path here is logical, as the operator writes it: --root is added where a file is opened (`under`).
"""

from __future__ import annotations

import base64
import binascii
import enum
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from hsm_enrol.shapes import dataclass


def under(root: str, path: str) -> str:
    """Give the place of a logical path below --root; one that is already there (out of a conf) is not moved twice."""
    return path if not root or path == root or path.startswith(root + "/") else root + path


# --- what was found: three answers, three types


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """A regular file: its bytes, permission bits, owner. `links` are the symbolic links in front of it (conf only)."""

    content: bytes = field(repr=False)
    mode: int
    uid: int
    gid: int
    links: tuple[str, ...] = ()


class Absent(enum.Enum):
    """Nothing is there: ENOENT or ENOTDIR, no other errno."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Could not be told; `error` is the errno's name. Never planned on."""

    error: str


Found = Present | Literal[Absent.ABSENT] | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The host as its files show it. `files` has every other path that a plan may touch, by logical path.

    `uid`, `gid` own what we write (0, or whoever runs a laboratory); `key_gid` is the group that may read the client
    key, None when luna.group does not exist here.
    """

    conf: Found
    files: Mapping[str, Found]
    uid: int
    gid: int
    key_gid: int | None

    def at(self, path: str) -> Found:
        """Give what stands at a path; a path that nobody looked at is a bug."""
        return self.files[path]


# --- what is wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One appliance: the address that is dialled, its NTLS port, its certificate as PEM."""

    address: str
    port: int
    certificate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The HA group. `retry` -1 is for ever, `interval` in seconds; serial and slot are known once read back."""

    label: str
    members: tuple[str, ...]
    only: bool
    retry: int
    interval: int
    serial: str | None = None
    slot: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The client's certificate and key. From the record only the key's SHA-256 (hex) is known, and `key` is None."""

    name: str
    certificate: str
    key: str | None = field(repr=False)
    key_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where things are on this host: the conf, the pair, the CA file, the folder of server certificates."""

    prefix: str
    conf: str
    cert: str
    key: str
    ca_file: str
    server_dir: str
    java: tuple[str, ...] = ()

    def server_cert(self, address: str) -> str:
        """Give the file of one appliance's certificate, named as `vtl addServer` names it."""
        return f"{self.server_dir}/{address}Cert.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """The state that this host is to be in; the same from a bundle and, less the key, from the record."""

    serial: int
    client: Pair
    servers: tuple[Server, ...]
    ha: Group
    paths: Paths
    pin_id: str | None = None


# --- the steps: a plan is a tuple of them, to be printed, compared and tested


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One key of Chrystoki.conf: `old` is what must be there now, `new` what is wanted; None is "not there".

    `theirs`: `new` is a value of the site's out of this very file, so it may have more than ASCII in it.
    """

    section: str
    key: str
    old: str | None
    new: str | None
    theirs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PutFile:
    """Make or replace a file. `secret` files are never shown."""

    path: str
    content: bytes = field(repr=False)
    mode: int
    uid: int
    gid: int
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMode:
    """Mend permission bits and owner; the content stays."""

    path: str
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EditConf:
    """Change keys of Chrystoki.conf, leaving every other byte alone."""

    path: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTool:
    """Run `vtl` or `lunacm`. `may_change` are (section, key pattern) pairs that it may write into the conf."""

    tool: str
    words: tuple[str, ...]
    asks_pin: bool = False
    may_change: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DropFile:
    """Remove a file after the commit; secrets are overwritten first."""

    path: str
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something that cannot be done from what we have: the client key is lost and only the verifier has it."""

    what: str
    path: str


Step = PutFile | SetMode | EditConf | RunTool | DropFile | Need


def describe(step: Step) -> str:
    """Say what a step does, for --plan and the journal: paths and words, never content."""
    match step:
        case PutFile():
            return f"write {step.path} (mode {step.mode:04o})"
        case SetMode():
            return f"mend mode or owner of {step.path}"
        case EditConf():
            keys = ", ".join(f"{one.section}/{one.key}" for one in step.changes)
            return f"edit {step.path}: {keys}"
        case RunTool():
            return " ".join((step.tool, *step.words)) + (" (PIN at its prompt)" if step.asks_pin else "")
        case DropFile():
            return f"remove {step.path}"
        case Need():
            return f"needs {step.what} at {step.path}, which only the verifier has"


_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----")


def der_of(pem: str | bytes) -> bytes | None:
    """Give the DER of the first certificate in a PEM text; None when there is none. Certificates compare by this."""
    found = _BLOCK.search(pem.decode("latin-1") if isinstance(pem, bytes) else pem)
    if found is None:
        return None
    try:
        return base64.b64decode("".join(found[1].split()), validate=True)
    except binascii.Error:
        return None
