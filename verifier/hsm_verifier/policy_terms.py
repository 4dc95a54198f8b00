"""Knows the words of a policy: groups, the modes of their checks, and one thing that differed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from hsm_enrol.wire.seal import KEMS
from hsm_enrol.wire.sts import partition

LEVELS = ("fields", "iid", "identity-role")
MODES = ("off", "observe", "enforce")
GRANTS = ("any", "owner", "off")
Network = IPv4Network | IPv6Network
# V10: what is compared, and how much a difference counts unless the group says otherwise. Instance id, account and
# region are not here: they are how AWS's facts were found, and always enforced.
FIELDS: dict[str, str] = {
    "instance-type": "enforce",
    "image-id": "enforce",
    "reservation-id": "enforce",
    "role": "enforce",
    "local-hostname": "observe",
    "public-hostname": "observe",
    "local-ipv4": "observe",
}


class PolicyError(Exception):
    """The policy file cannot be used; names the key and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """V11: how much the source address counts; `nat` and `proxies` are networks the group's requests may come from."""

    mode: str = "observe"
    nat: tuple[Network, ...] = ()
    proxies: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """V12: seconds after the last start, and after creation, in which a first request is taken; None is off."""

    since_start: float | None = 900.0
    since_creation: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group: who belongs to it, and how its members are served. An empty tuple of a filter means "any"."""

    name: str
    accounts: tuple[str, ...]
    regions: tuple[str, ...]
    partitions: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    instance_types: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    vpcs: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    auto_scaling_groups: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    http_tokens: str = "required"
    level: str = "identity-role"
    accept_unbound_evidence: bool = False
    demand_iid: bool = False
    kems: tuple[str, ...] = KEMS
    bundle: str = ""
    lost_key: str = "grant"
    release_gate: bool = True
    grants: str = "any"
    fields: Mapping[str, str] = field(default_factory=lambda: dict(FIELDS))
    source: Source = field(default_factory=Source)
    windows: Windows = field(default_factory=Windows)

    @property
    def bundle_name(self) -> str:
        """Give the name under which the group's bundles are published: its own unless it shares another's."""
        return self.bundle or self.name

    def covers(self, account: str, region: str) -> bool:
        """Tell whether the group is for an account's instances in a region."""
        if account not in self.accounts or (self.regions and region not in self.regions):
            return False
        return not self.partitions or partition(region) in self.partitions


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One thing that differed: its check, a word, and whether it counts.

    `found` and `wanted` are for an operator at a terminal; the audit has the word alone: values come from outside.
    """

    check: str
    what: str
    enforced: bool
    found: str = ""
    wanted: str = ""

    def __str__(self) -> str:
        """Write it for the audit line."""
        return f"{self.check} {self.what}" + ("" if self.enforced else " (observed)")
