"""Knows what this agent keeps on the host: the owner key, the record, and a note of the question under way.

Everything is bound to an instance id. What a cloned image brings along belongs to another instance and is wiped before
anything is asked. The seal key is in none of these files: it lives in the memory of one run (docs/decisions.md).
"""

from __future__ import annotations

import json
from dataclasses import field
from typing import TYPE_CHECKING

from hsm_enrol.errors import RecordDamaged, WireError
from hsm_enrol.host import files
from hsm_enrol.record import PATH as RECORD
from hsm_enrol.record import Record
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.keys import PublicJwk, generate_key, private_from_pem, private_to_pem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

STATE = "/var/lib/hsm-enrol"
RUN = "/run/hsm-enrol"
OWNER_KEY = f"{STATE}/owner.key"
PENDING = f"{RUN}/pending.json"
LOCK = f"{RUN}/lock"
METRICS = f"{RUN}/hsm-enrol.prom"  # what hsm-enrol-check.service writes each hour
SERVER_PEM = f"{RUN}/server.pem"  # what `vtl addServer` reads; public, and gone when the run ends
PIN_CREDENTIAL = f"{STATE}/pin.cred"
NO_TX = "-"  # the tx of a record that no transaction has committed
_HEAD = b"instance: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The key that owns this instance's slots at the verifier, and the instance it was made for."""

    instance_id: str
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def public(self) -> PublicJwk:
        """Give the public half, as it stands in `cnf`."""
        return PublicJwk.from_key(self.key.public_key())

    @property
    def thumbprint(self) -> str:
        """Give the key's name, which an operator needs for a grant."""
        return self.public.thumbprint


def read_owner(root: str = "") -> Owner | None:
    """Read the owner key; None when there is none, or none that can be used: then a new one is made.

    A damaged key is as good as lost, and the verifier's `lost_key` policy decides what that means.
    """
    data = files.read_file(OWNER_KEY, root=root, limit=4096)
    if data is None or not data.startswith(_HEAD):
        return None
    head, _, pem = data.partition(b"\n")
    try:
        return Owner(instance_id=head[len(_HEAD) :].decode("ascii"), key=private_from_pem(pem))
    except (UnicodeDecodeError, WireError):
        return None


def owner_for(instance_id: str, root: str = "") -> Owner:
    """Give this instance's owner key, made and safe on disk if there was none. Raises CannotWrite."""
    owner = read_owner(root)
    if owner is not None and owner.instance_id == instance_id:
        return owner
    owner = Owner(instance_id=instance_id, key=generate_key())
    files.make_folder(STATE, root=root, mode=0o700)
    pem = private_to_pem(owner.key)
    files.put_file(OWNER_KEY, _HEAD + instance_id.encode("ascii") + b"\n" + pem, root=root, private=True)
    return owner


def note_pending(root: str, *, instance_id: str, jti: str, nonce: str, owner: str) -> None:
    """Note which question is under way, before it is sent: a later run, and an operator, can see that one was cut off.

    No secret is in it, so nothing is lost with /run.
    """
    members = {"schema": 1, "instance_id": instance_id, "jti": jti, "nonce": nonce, "owner": owner}
    files.put_file(PENDING, json.dumps(members, indent=1).encode() + b"\n", root=root, flush="nothing")


def read_pending(root: str = "") -> dict[str, str] | None:
    """Read that note; None when there is none or it is not readable: nothing depends on it."""
    data = files.read_file(PENDING, root=root, limit=4096)
    try:
        found = json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def drop_pending(root: str = "") -> None:
    """Forget the note."""
    files.remove_file(PENDING, root=root)


def read_record(root: str = "") -> Record | None:
    """Read the record; None when there is none. Raises RecordDamaged (never taken as absent), CannotTell."""
    data = files.read_file(RECORD, root=root)
    return None if data is None else Record.from_bytes(data)


def write_record(record: Record, root: str = "") -> None:
    """Replace the record outside a transaction: what was tried, what is still to be told. Raises CannotWrite."""
    files.make_folder(STATE, root=root, mode=0o700)
    files.put_file(RECORD, record.to_bytes(), root=root)


def wipe_foreign(instance_id: str, root: str = "") -> str | None:
    """Remove owner key, sealed PIN and pending note of another instance; give its id, None when all is ours.

    The record is left to the caller, who still has to learn from it what the other instance installed here.
    """
    owner, foreign = read_owner(root), None
    if owner is not None and owner.instance_id != instance_id:
        foreign = owner.instance_id
    try:
        record = read_record(root)
    except RecordDamaged:
        record = None
    if record is not None and record.instance_id != instance_id:
        foreign = record.instance_id
    if foreign is not None:
        for path in (OWNER_KEY, PENDING, PIN_CREDENTIAL):
            files.drop_file(path, root=root)
    return foreign
