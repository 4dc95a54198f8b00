"""Knows a white list of instances: fingerprints over claimed fields, for sites without AWS's API."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

from hsm_enrol.wire.assertion import Assertion, Instance
from hsm_enrol.wire.binding import lp
from hsm_verifier.inventory.facts import Facts
from hsm_verifier.refusal import Refusal


class StaticError(Exception):
    """The white list cannot be used; says why."""


def fingerprint(instance_id: str, instance: Instance) -> str:
    """Give the hex SHA-256 over label, instance id and every claimed field with its name, sorted."""
    fields = instance.as_json()
    parts = [f"{name}={fields[name]}" for name in sorted(fields)]
    whole = lp(b"hsm-enrol/1 fingerprint", instance_id.encode(), *(part.encode() for part in parts))
    return hashlib.sha256(whole).hexdigest()


class StaticInventory:
    """The white list: a TOML file with `fingerprints = ["hex", …]`. What matches is running, with the claimed fields.

    It proves no more than that the operator wrote these fields down: level L0 (docs/protocol.md).
    """

    def __init__(self, path: Path) -> None:
        """Read the file. Raises StaticError."""
        try:
            table = tomllib.loads(path.read_text("utf-8"))
            listed = table["fingerprints"]
        except (OSError, ValueError, KeyError) as error:
            raise StaticError(f"{path}: {type(error).__name__}") from None
        if set(table) != {"fingerprints"} or not all(isinstance(one, str) and len(one) == 64 for one in listed):  # noqa: PLR2004  hex digits of SHA-256
            raise StaticError(f"{path}: only `fingerprints`, a list of SHA-256 in hex")
        self._listed = frozenset(listed)

    def look_up(self, request: Assertion) -> Facts:
        """Give the claimed fields as facts when their fingerprint is listed; Refusal `not_admitted` otherwise."""
        claims = request.instance
        if fingerprint(request.sub, claims) not in self._listed:
            raise Refusal("not_admitted", "V9 not_on_white_list")
        return Facts(
            instance_id=request.sub,
            account=claims.account_id,
            region=claims.region,
            state="running",
            instance_type=claims.instance_type,
            image_id=claims.image_id,
            reservation_id=claims.reservation_id,
            private_dns=claims.local_hostname,
            public_dns=claims.public_hostname,
            private_ip=claims.local_ipv4,
            public_ip=None,
            launch_time=None,
            created=None,
            vpc=None,
            subnet=None,
            http_tokens=None,
            profile_arn=None,
            role=claims.role,
        )
