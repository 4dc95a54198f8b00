"""Knows the facts that an inventory gives about an instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One instance as AWS's API (or a white list) has it. Times in Unix seconds; None is "not known"."""

    instance_id: str
    account: str
    region: str
    state: str
    instance_type: str
    image_id: str
    reservation_id: str
    private_dns: str
    public_dns: str | None
    private_ip: str | None
    public_ip: str | None
    launch_time: float | None
    created: float | None
    vpc: str | None
    subnet: str | None
    http_tokens: str | None
    profile_arn: str | None
    role: str | None
    tags: Mapping[str, str] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
