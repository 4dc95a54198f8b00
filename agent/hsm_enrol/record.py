"""Knows record.json: the desired state without its secrets, what was tried with which PIN, and a witness of the files.

It is the only file that says "installed"; its rename is an installation's commit. A damaged one is never treated as
absent, for the memory of PIN tries is in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hsm_enrol.errors import RecordDamaged
from hsm_enrol.model import Desired, Group, Pair, Paths, Server
from hsm_enrol.plan import NOTHING, Former
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.bundle import Bundle
from hsm_enrol.witness import Row

SCHEMA = 1
PATH = "/var/lib/hsm-enrol/record.json"
PIN_STATES = ("tried", "accepted", "refused")
# The keys of the conf that are the client's own, not ours alone: `leave` gives them back as they were.
SHARED = (
    ("LunaSA Client", "ClientCertFile"),
    ("LunaSA Client", "ClientPrivKeyFile"),
    ("LunaSA Client", "ServerCAFile"),
    ("LunaSA Client", "NetClient"),
    ("HAConfiguration", "HAOnly"),
    ("HAConfiguration", "reconnAtt"),
    ("HAConfiguration", "AutoReconnectInterval"),
)
STANDING = "ServerName/"  # in `before`, with an address behind it: an appliance that was registered then, by its port


@dataclass(frozen=True, slots=True, kw_only=True)
class PinMemory:
    """What is known of one PIN on this host: `tried` (outcome unknown), `accepted` or `refused`. No digest of it."""

    id: str
    state: str
    serial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptDue:
    """A receipt that no verifier has taken yet; `code` with result `failed` only."""

    nonce: str
    jti: str
    serial: int
    result: str
    pin: str
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The whole file. `before` holds shared keys and appliances of the conf as they were before the first installation.

    `image`: what a run of another instance left here, in an image that this instance was made of; ours to clean up.
    """

    agent: str
    instance_id: str
    tx: str
    installed: Desired | None = None
    installed_at: str = ""
    image: Desired | None = None
    pin: PinMemory | None = None
    receipt_due: ReceiptDue | None = None
    before: Mapping[str, str | None] | None = None
    witness: tuple[Row, ...] = ()

    @property
    def former(self) -> Former:
        """Give what is ours on this host."""
        one = self.installed or self.image
        if one is None:
            return NOTHING
        paths = one.paths
        standing = frozenset(name.removeprefix(STANDING) for name in self.before or () if name.startswith(STANDING))
        return Former(
            servers=one.servers,
            standing=standing,
            label=one.ha.label,
            cert=paths.cert,
            key=paths.key,
            java=paths.java,
        )

    @property
    def has_good_pin(self) -> bool:
        """Tell whether the installed bundle has a PIN, and the HSM took it here."""
        pin, installed = self.pin, self.installed
        return pin is not None and pin.state == "accepted" and installed is not None and installed.pin_id == pin.id

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing is in it that anybody could miss."""
        return (self.installed, self.image, self.pin, self.receipt_due) == (None, None, None, None)

    def for_clone(self, agent: str, instance_id: str, tx: str) -> Record:
        """Give the record that an instance made of this one's image begins with."""
        image = self.installed or self.image
        return Record(agent=agent, instance_id=instance_id, tx=tx, image=image, before=self.before)

    def to_bytes(self) -> bytes:
        """Write the file."""
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "agent": self.agent,
            "instance_id": self.instance_id,
            "tx": self.tx,
            "witness": list(self.witness),
        }
        if self.pin is not None:
            found["pin"] = _members(self.pin)
        if self.receipt_due is not None:
            found["receipt_due"] = _members(self.receipt_due)
        if self.before is not None:
            found["before"] = dict(self.before)
        if self.image is not None:
            found["image"] = _desired_to_json(self.image)
        if self.installed is not None:
            found["installed"] = {"at": self.installed_at, **_desired_to_json(self.installed)}
        return json.dumps(found, indent=1, sort_keys=True).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, path: str = PATH) -> Record:
        """Read the file. Raises RecordDamaged."""
        try:
            found = json.loads(data)
            if found["schema"] != SCHEMA:
                raise RecordDamaged(path=path)
            installed, image = found.get("installed"), found.get("image")
            record = cls(
                agent=found["agent"],
                instance_id=found["instance_id"],
                tx=found["tx"],
                installed=_desired_from_json(installed) if installed else None,
                installed_at=installed["at"] if installed else "",
                image=_desired_from_json(image) if image else None,
                pin=PinMemory(**found["pin"]) if "pin" in found else None,
                receipt_due=ReceiptDue(**found["receipt_due"]) if "receipt_due" in found else None,
                before=found.get("before"),
                witness=tuple(found["witness"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise RecordDamaged(path=path) from None
        if not all(isinstance(one, str) for one in (record.agent, record.instance_id, record.tx)):
            raise RecordDamaged(path=path)
        if record.pin is not None and record.pin.state not in PIN_STATES:
            raise RecordDamaged(path=path)
        return record


def desired_from_bundle(bundle: Bundle, paths: Paths) -> Desired:
    """Give what a bundle wants of this host."""
    key = bundle.client.private_key
    return Desired(
        serial=bundle.serial,
        client=Pair(
            name=bundle.client.name,
            certificate=bundle.client.certificate,
            key=key,
            key_sha256=hashlib.sha256(key.encode("ascii")).hexdigest(),
        ),
        servers=tuple(Server(address=s.address, port=s.port, certificate=s.certificate) for s in bundle.servers),
        ha=Group(
            label=bundle.ha.label,
            members=bundle.ha.members,
            only=bundle.ha.only,
            retry=bundle.ha.retry,
            interval=bundle.ha.interval,
        ),
        paths=paths,
        pin_id=bundle.pin.id if bundle.pin else None,
    )


def without_secrets(desired: Desired) -> Desired:
    """Give the desired state as the record keeps it: of the key only its digest."""
    return replace(desired, client=replace(desired.client, key=None))


def _members(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _desired_to_json(desired: Desired) -> dict[str, Any]:
    client = desired.client
    return {
        "serial": desired.serial,
        "client": {"name": client.name, "certificate": client.certificate, "key_sha256": client.key_sha256},
        "servers": [_members(one) for one in desired.servers],
        "ha": _members(desired.ha),
        "paths": _members(desired.paths),
        "pin_id": desired.pin_id,
    }


def _desired_from_json(found: dict[str, Any]) -> Desired:
    ha, paths = dict(found["ha"]), dict(found["paths"])
    ha["members"], paths["java"] = tuple(ha["members"]), tuple(paths["java"])
    return Desired(
        serial=found["serial"],
        client=Pair(key=None, **found["client"]),
        servers=tuple(Server(**one) for one in found["servers"]),
        ha=Group(**ha),
        paths=Paths(**paths),
        pin_id=found["pin_id"],
    )
