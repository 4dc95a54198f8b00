"""Knows the policy file: `[groups.NAME]` tables in TOML; an unknown key is an error naming the nearest known one."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from hsm_enrol.wire import assertion as grammar
from hsm_enrol.wire.seal import KEMS
from hsm_enrol.wire.sts import partition
from hsm_verifier.policy import FIELDS, GRANTS, LEVELS, MODES, Group, Policy, PolicyError, Source, Windows
from hsm_verifier.policy_terms import Network
from hsm_verifier.vault import GROUP


def load_policy(path: Path) -> Policy:
    """Read a policy file. Raises PolicyError."""
    try:
        return read_policy(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"cannot read {path}: {type(error).__name__}") from None
    except ValueError as error:  # not TOML, or a number of thousands of digits
        raise PolicyError(f"{path}: {error}") from None


def read_policy(table: Mapping[str, Any]) -> Policy:
    """Read a parsed policy: `[groups.NAME]` tables. Raises PolicyError."""
    _only(table, {"groups"}, "the policy")
    groups = table.get("groups", {})
    if not isinstance(groups, dict) or not groups:
        raise PolicyError("no [groups.NAME] table")
    return Policy(groups=tuple(_group(name, values) for name, values in groups.items()))


def _group(name: str, table: Any) -> Group:
    where = f"groups.{name}"
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,32}", name, re.ASCII) or not isinstance(table, dict):
        raise PolicyError(f"{where}: not a group")
    known = {one.name: one for one in fields(Group) if one.name != "name"}
    _only(table, set(known), where)
    values: dict[str, Any] = {"name": name}
    for key, one in known.items():
        if key in table:
            values[key] = _READERS[key](table[key], f"{where}.{key}")
        elif one.default is MISSING and one.default_factory is MISSING:
            raise PolicyError(f"{where}.{key} is missing")
    group = Group(**values)
    if not GROUP.fullmatch(group.bundle_name):
        raise PolicyError(f"{where}: begin with a letter or digit, or set bundle: nothing is published under that name")
    if not group.regions and not group.partitions:
        raise PolicyError(f"{where}.regions: list some, or leave it empty and list partitions")
    if not group.regions and group.level == "fields":
        # Nothing proves a region there: for each that is made up a client of AWS's API would be made, and kept.
        raise PolicyError(f"{where}.regions: list them, with level fields anybody may name any")
    for region in group.regions:
        if group.partitions and partition(region) not in group.partitions:
            raise PolicyError(f"{where}.regions: {region} is in partition {partition(region)}, not in those listed")
    if group.level != LEVELS[-1] and not group.accept_unbound_evidence:
        raise PolicyError(
            f"{where}.level {group.level} does not bind the asker's key: set accept_unbound_evidence = true"
        )
    if group.demand_iid and group.level == "fields":
        raise PolicyError(f"{where}.demand_iid does not go with level fields")
    return group


def _only(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(sorted(known))
            raise PolicyError(f"{where}: unknown key {key!r}; {hint}")


def _texts(pattern: str) -> Any:
    def read(value: Any, where: str) -> tuple[str, ...]:
        texts = [one for one in value if isinstance(one, str)] if isinstance(value, list) else None
        if texts is None or texts != value or not all(re.fullmatch(pattern, one, re.ASCII) for one in texts):
            raise PolicyError(f"{where}: a list of texts that match {pattern}")
        return tuple(texts)

    return read


def _word(*words: str) -> Any:
    def read(value: Any, where: str) -> str:
        if value not in words:
            raise PolicyError(f"{where}: one of {', '.join(words)}")
        return str(value)

    return read


def _yes_no(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise PolicyError(f"{where}: true or false")
    return value


def _tags(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise PolicyError(f"{where}: a table of texts")
    return dict(value)


def _modes(value: Any, where: str) -> dict[str, str]:
    table = _tags(value, where)
    _only(table, set(FIELDS), where)
    for key, mode in table.items():
        _word(*MODES)(mode, f"{where}.{key}")
    return FIELDS | table


def _some(read: Any) -> Any:
    """Give a reader of a list that must not be empty: an empty one would admit nobody."""

    def some(value: Any, where: str) -> tuple[str, ...]:
        found: tuple[str, ...] = read(value, where)
        if not found:
            raise PolicyError(f"{where}: at least one")
        return found

    return some


def _bundle(value: Any, where: str) -> str:
    if not isinstance(value, str) or (value and not GROUP.fullmatch(value)):
        raise PolicyError(f"{where}: the name under which bundles are published")
    return value


def _read_source(value: Any, where: str) -> Source:
    if not isinstance(value, dict):
        raise PolicyError(f"{where}: a table")
    _only(value, {"mode", "nat", "proxies"}, where)
    return Source(
        mode=_word(*MODES)(value.get("mode", "observe"), f"{where}.mode"),
        nat=_networks(value.get("nat", []), f"{where}.nat"),
        proxies=_networks(value.get("proxies", []), f"{where}.proxies"),
    )


def _networks(value: Any, where: str) -> tuple[Network, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise PolicyError(f"{where}: a list of IP networks")
    try:
        return tuple(ip_network(one) for one in value)
    except ValueError:
        raise PolicyError(f"{where}: a list of IP networks") from None


def _read_windows(value: Any, where: str) -> Windows:
    if not isinstance(value, dict):
        raise PolicyError(f"{where}: a table")
    _only(value, {"since_start", "since_creation"}, where)
    return Windows(
        since_start=_window(value.get("since_start", "15min"), f"{where}.since_start"),
        since_creation=_window(value.get("since_creation", "off"), f"{where}.since_creation"),
    )


def _window(value: Any, where: str) -> float | None:
    if value == "off":
        return None
    found = re.fullmatch(r"([0-9]{1,6})(s|min|h|d)", value, re.ASCII) if isinstance(value, str) else None
    if not found:
        raise PolicyError(f'{where}: "off" or like "15min" (s, min, h, d)')
    return int(found[1]) * {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}[found[2]]


_READERS: dict[str, Any] = {
    "accounts": _some(_texts(grammar.ACCOUNT_ID)),
    "regions": _texts(grammar.REGION),
    "partitions": _texts("aws|aws-us-gov|aws-cn|aws-eusc"),
    "roles": _texts(grammar.ROLE),
    "instance_types": _texts(grammar.INSTANCE_TYPE),
    "images": _texts(grammar.IMAGE_ID),
    "vpcs": _texts(r"vpc-[0-9a-f]{8,17}"),
    "subnets": _texts(r"subnet-[0-9a-f]{8,17}"),
    "auto_scaling_groups": _texts(r".{1,255}"),
    "tags": _tags,
    "http_tokens": _word("required", "any"),
    "level": _word(*LEVELS),
    "accept_unbound_evidence": _yes_no,
    "demand_iid": _yes_no,
    "kems": _some(_texts("|".join(re.escape(kem) for kem in KEMS))),
    "bundle": _bundle,
    "lost_key": _word("grant", "relaunched"),
    "grants": _word(*GRANTS),
    "release_gate": _yes_no,
    "fields": _modes,
    "source": _read_source,
    "windows": _read_windows,
}
