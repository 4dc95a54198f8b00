"""Knows a file of facts about instances, for `check-policy`: what `aws ec2 describe-instances` prints, or TOML by hand.

TOML has `[facts]` with the names of inventory/facts.py (account and region at least; a time is a TOML date-time or a
text like "20min": so long ago), and perhaps `[claims]` with IMDS's names for what the instance would say otherwise.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hsm_enrol.wire.assertion import Instance
from hsm_verifier.inventory.ec2 import facts_of
from hsm_verifier.inventory.facts import Facts

_TIMES = ("launch_time", "created")
_CLAIMS = {one.name.replace("_", "-"): one.name for one in fields(Instance)}
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class FactsError(Exception):
    """The file cannot be used; names the key and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supposed:
    """One instance as AWS would show it, and what it would say of itself."""

    facts: Facts
    claims: Instance


def load_facts(path: Path, *, now: float, role: str | None, account: str) -> tuple[Supposed, ...]:
    """Read a file. `role` is that of the instance profile (DescribeInstances names only the profile). FactsError."""
    try:
        text = path.read_text(encoding="utf-8")
        if text.lstrip().startswith("{"):
            return _from_aws(json.loads(text), role, account)
        return (_by_hand(tomllib.loads(text), now, role),)
    except (OSError, UnicodeDecodeError) as error:
        raise FactsError(f"cannot read {path}: {type(error).__name__}") from None
    except ValueError as error:
        raise FactsError(f"{path}: {error}") from None


def _from_aws(value: Any, role: str | None, account: str) -> tuple[Supposed, ...]:
    try:
        return tuple(
            _truthful(replace(facts_of(reservation, instance, (account, _region(instance))), role=role))
            for reservation in value["Reservations"]
            for instance in reservation["Instances"]
        )
    except (KeyError, TypeError, AttributeError):
        raise FactsError("not what `aws ec2 describe-instances` prints") from None


def _region(instance: Mapping[str, Any]) -> str:
    """Give the region of an availability zone: eu-central-1 of eu-central-1a, us-west-2 of us-west-2-lax-1a."""
    zone = str(instance["Placement"]["AvailabilityZone"])
    found = re.match(r"[a-z]{2,5}(-[a-z]{2,12}){1,2}-[0-9]{1,2}", zone, re.ASCII)
    if not found:
        raise FactsError(f"{zone!r} is no availability zone")
    return found[0]


def _by_hand(table: dict[str, Any], now: float, role: str | None) -> Supposed:
    _only(table, {"facts", "claims"}, "the file")
    given = table.get("facts", {})
    if not isinstance(given, dict):
        raise FactsError("facts: a table")
    known = {one.name for one in fields(Facts)}
    _only(given, known, "facts")
    for name in ("account", "region"):
        if not isinstance(given.get(name), str):
            raise FactsError(f"facts.{name}: a text is missing")
    values: dict[str, Any] = dict.fromkeys(known) | {
        "instance_id": "i-00000000000000000",
        "state": "running",
        "instance_type": "",
        "image_id": "",
        "reservation_id": "",
        "private_dns": "",
        "role": role,
        "tags": {},
        "addresses": [],
    }
    values |= given
    for name in _TIMES:
        values[name] = _time(values[name], now, f"facts.{name}")
    if not isinstance(values["tags"], dict) or not isinstance(values["addresses"], list):
        raise FactsError("facts.tags: a table; facts.addresses: a list")
    for name in known - {*_TIMES, "tags", "addresses"}:
        if not isinstance(values[name], str | None):
            raise FactsError(f"facts.{name}: a text")
    values["addresses"] = tuple(map(str, values["addresses"]))
    return _claiming(_truthful(Facts(**values)), table.get("claims", {}))


def _truthful(facts: Facts) -> Supposed:
    """Give the instance that says of itself what AWS says of it."""
    return Supposed(
        facts=facts,
        claims=Instance(
            instance_type=facts.instance_type,
            reservation_id=facts.reservation_id,
            local_hostname=facts.private_dns,
            account_id=facts.account,
            region=facts.region,
            image_id=facts.image_id,
            local_ipv4=facts.private_ip,
            public_hostname=facts.public_dns,
            role=facts.role,
        ),
    )


def _claiming(supposed: Supposed, claims: Any) -> Supposed:
    if not isinstance(claims, dict) or not all(isinstance(one, str) for one in claims.values()):
        raise FactsError("claims: a table of texts")
    _only(claims, set(_CLAIMS), "claims")
    changes: dict[str, Any] = {_CLAIMS[name]: value for name, value in claims.items()}
    return replace(supposed, claims=replace(supposed.claims, **changes))


def _time(value: Any, now: float, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.timestamp()
    found = re.fullmatch(r"([0-9]{1,6})(s|min|h|d)", value, re.ASCII) if isinstance(value, str) else None
    if not found:
        raise FactsError(f'{where}: a date-time with its offset, or like "20min" for so long ago (s, min, h, d)')
    return now - int(found[1]) * _UNITS[found[2]]


def _only(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(sorted(known))
            raise FactsError(f"{where}: unknown key {key!r}; {hint}")
