"""Knows which instance may have what: groups in TOML, compared with claims and facts; and why not (V10 to V12)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol

from hsm_enrol.wire.assertion import Instance
from hsm_enrol.wire.seal import KEMS
from hsm_verifier.evidence.iid import Document
from hsm_verifier.inventory.facts import Facts

LEVELS = ("fields", "iid", "identity-role")
MODES = ("off", "observe", "enforce")
Network = IPv4Network | IPv6Network
# V10: what is compared, and how much a difference counts unless the group says otherwise.
FIELDS: dict[str, str] = {
    "instance-type": "enforce",
    "image-id": "enforce",
    "reservation-id": "enforce",
    "role": "enforce",
    "local-hostname": "observe",
    "public-hostname": "observe",
    "local-ipv4": "observe",
}


class Claimant(Protocol):
    """Whoever is judged, as far as a policy looks: an assertion, or what the audit kept of one."""

    @property
    def instance(self) -> Instance:
        """Give the claims."""


class PolicyError(Exception):
    """The policy file cannot be used; names the key and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """V11: how much the source address counts; `nat` are further networks the instance may appear from."""

    mode: str = "observe"
    nat: tuple[Network, ...] = ()


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
    lost_key: str = "grant"
    release_gate: bool = True
    fields: Mapping[str, str] = field(default_factory=lambda: dict(FIELDS))
    source: Source = field(default_factory=Source)
    windows: Windows = field(default_factory=Windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One thing that differed: its check, a word, and whether it counts."""

    check: str
    what: str
    enforced: bool

    def __str__(self) -> str:
        """Write it for the audit line."""
        return f"{self.check} {self.what}" + ("" if self.enforced else " (observed)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The group that serves the instance, or None; and everything that differed."""

    group: str | None
    mismatches: tuple[Mismatch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All groups, in the file's order: the first that admits an instance serves it."""

    groups: tuple[Group, ...]

    def names(self) -> tuple[str, ...]:
        """Give every group's name."""
        return tuple(one.name for one in self.groups)

    def group(self, name: str) -> Group:
        """Give a group by name. KeyError when there is none."""
        return {one.name: one for one in self.groups}[name]

    def unbound(self) -> tuple[str, ...]:
        """Give the groups that accept evidence which does not bind the asker's key: a warning at every start."""
        return tuple(one.name for one in self.groups if one.level != LEVELS[-1])

    def lowest_level(self, account: str, region: str) -> str | None:
        """V4: give the weakest evidence that any group of that account and region accepts, None when there is none."""
        levels = [LEVELS.index(one.level) for one in self.groups if account in one.accounts and region in one.regions]
        return LEVELS[min(levels)] if levels else None

    def judge(
        self, request: Claimant, facts: Facts, _document: Document | None, *, source: str, now: float, first_time: bool
    ) -> Verdict:
        """V10 to V12: find the first group without an enforced mismatch. `now` in Unix seconds, `source` an address.

        The document was compared with the claims before (V6); here the claims are compared with AWS's facts.
        """
        seen: tuple[Mismatch, ...] = ()
        claims = request.instance
        for group in self.groups:
            if claims.account_id not in group.accounts or claims.region not in group.regions:
                continue
            found = (
                *_members(group, facts),
                *_fields(group, request, facts),
                *_source(group, facts, source, first_time=first_time),
                *_windows(group, facts, now, first_time=first_time),
            )
            if not any(one.enforced for one in found):
                return Verdict(group=group.name, mismatches=found)
            seen += found
        return Verdict(group=None, mismatches=seen or (Mismatch(check="V10", what="account_or_region", enforced=True),))


def _members(group: Group, facts: Facts) -> list[Mismatch]:
    """V10, whom the group is for: AWS's facts against the group's lists."""
    pairs: dict[str, tuple[str | None, tuple[str, ...]]] = {
        "role": (facts.role, group.roles),
        "instance_type": (facts.instance_type, group.instance_types),
        "image": (facts.image_id, group.images),
        "vpc": (facts.vpc, group.vpcs),
        "subnet": (facts.subnet, group.subnets),
        "auto_scaling_group": (facts.tags.get("aws:autoscaling:groupName"), group.auto_scaling_groups),
    }
    found = [f"{name}_not_in_group" for name, (value, listed) in pairs.items() if listed and value not in listed]
    found += [f"tag_{key}_differs" for key, value in group.tags.items() if facts.tags.get(key) != value]
    if group.http_tokens == "required" and facts.http_tokens not in {"required", None}:
        found.append("http_tokens_not_required")
    return [Mismatch(check="V10", what=one, enforced=True) for one in found]


def _fields(group: Group, request: Claimant, facts: Facts) -> list[Mismatch]:
    """V10, whether the claims are true. Account, region and instance id are how the facts were found."""
    claims = request.instance
    pairs = {
        "instance-type": (claims.instance_type, facts.instance_type),
        "image-id": (claims.image_id, facts.image_id),
        "reservation-id": (claims.reservation_id, facts.reservation_id),
        "role": (claims.role, facts.role),
        "local-hostname": (claims.local_hostname, facts.private_dns),
        "public-hostname": (claims.public_hostname, facts.public_dns),
        "local-ipv4": (claims.local_ipv4, facts.private_ip),
    }
    found = []
    for name, (claimed, known) in pairs.items():
        mode = group.fields.get(name, FIELDS[name])
        if mode != "off" and claimed != known:
            found.append(Mismatch(check="V10", what=f"{name}_differs", enforced=mode == "enforce"))
    if facts.account != claims.account_id:
        found.append(Mismatch(check="V10", what="account_differs", enforced=True))
    return found


def _source(group: Group, facts: Facts, source: str, *, first_time: bool) -> list[Mismatch]:
    """V11: the source address is the instance's own, or a listed NAT's. Only observed after the first time (O4)."""
    if group.source.mode == "off":
        return []
    try:
        address = ip_address(source)
    except ValueError:
        return [Mismatch(check="V11", what="source_unknown", enforced=group.source.mode == "enforce" and first_time)]
    own = {facts.private_ip, facts.public_ip}
    if str(address) in own or any(address in network for network in group.source.nat):
        return []
    return [Mismatch(check="V11", what="source_differs", enforced=group.source.mode == "enforce" and first_time)]


def _windows(group: Group, facts: Facts, now: float, *, first_time: bool) -> list[Mismatch]:
    """V12: how long after start and creation a first request is taken. Not applied later: old instances rotate (O4)."""
    if not first_time:
        return []
    found = []
    for name, window, begin in (
        ("since_start", group.windows.since_start, facts.launch_time),
        ("since_creation", group.windows.since_creation, facts.created),
    ):
        if window is not None and begin is not None and now - begin > window:
            found.append(Mismatch(check="V12", what=f"{name}_is_over", enforced=True))
    return found
