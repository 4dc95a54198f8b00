"""Knows what to compare for one group: its lists, the claims, the source address and the two windows (V10 to V12)."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from hsm_enrol.wire.assertion import Instance
from hsm_verifier.inventory.facts import Facts
from hsm_verifier.policy_terms import FIELDS, Group, Mismatch


def members(group: Group, facts: Facts) -> Iterator[Mismatch]:
    """V10, whom the group is for: AWS's facts against the group's lists."""
    pairs: dict[str, tuple[str | None, tuple[str, ...]]] = {
        "role": (facts.role, group.roles),
        "instance_type": (facts.instance_type, group.instance_types),
        "image": (facts.image_id, group.images),
        "vpc": (facts.vpc, group.vpcs),
        "subnet": (facts.subnet, group.subnets),
        "auto_scaling_group": (facts.tags.get("aws:autoscaling:groupName"), group.auto_scaling_groups),
    }
    for name, (value, listed) in pairs.items():
        if listed and value not in listed:
            yield _enforced(f"{name}_not_in_group", value, " or ".join(listed))
    for key, wanted in group.tags.items():
        if facts.tags.get(key) != wanted:
            yield _enforced(f"tag_{key}_differs", facts.tags.get(key), wanted)
    if group.http_tokens == "required" and facts.http_tokens not in {"required", None}:
        yield _enforced("http_tokens_not_required", facts.http_tokens, "required")


def claims(group: Group, said: Instance, facts: Facts) -> Iterator[Mismatch]:
    """V10, whether the claims are true. Account, region and instance id are how the facts were found."""
    pairs = {
        "instance-type": (said.instance_type, facts.instance_type),
        "image-id": (said.image_id, facts.image_id),
        "reservation-id": (said.reservation_id, facts.reservation_id),
        "role": (said.role, facts.role),
        "local-hostname": (said.local_hostname, facts.private_dns),
        "public-hostname": (said.public_hostname, facts.public_dns),
        "local-ipv4": (said.local_ipv4, facts.private_ip),
    }
    for name, (claimed, known) in pairs.items():
        mode = group.fields.get(name, FIELDS[name])
        if mode != "off" and claimed != known:
            yield Mismatch(
                check="V10",
                what=f"{name}_differs",
                enforced=mode == "enforce",
                found=_text(claimed),
                wanted=_text(known),
            )
    if facts.account != said.account_id:
        yield _enforced("account_differs", said.account_id, facts.account)


def source(group: Group, facts: Facts, address: str, *, first_time: bool) -> Iterator[Mismatch]:
    """V11: the address is the instance's own, or a listed NAT's or proxy's. Only observed after the first time (O4)."""
    if group.source.mode == "off":
        return
    enforced = group.source.mode == "enforce" and first_time
    own = {one for one in (facts.private_ip, facts.public_ip, *facts.addresses) if one}
    wanted = " or ".join([*sorted(own), *map(str, (*group.source.nat, *group.source.proxies))])
    try:
        seen = ip_address(address)
    except ValueError:
        yield Mismatch(check="V11", what="source_unknown", enforced=enforced, found=address, wanted=wanted)
        return
    seen = getattr(seen, "ipv4_mapped", None) or seen
    listed = (*group.source.nat, *group.source.proxies)
    if str(seen) not in own and not any(seen in network for network in listed):
        yield Mismatch(check="V11", what="source_differs", enforced=enforced, found=str(seen), wanted=wanted)


def windows(group: Group, facts: Facts, now: float, *, first_time: bool) -> Iterator[Mismatch]:
    """V12: how long after start and creation a first request is taken. Not applied later: old instances rotate (O4)."""
    if not first_time:
        return
    for name, window, begin in (
        ("since_start", group.windows.since_start, facts.launch_time),
        ("since_creation", group.windows.since_creation, facts.created),
    ):
        if window is None:
            continue
        if begin is None:
            # A white list knows no times and the first window is on by default; the second one somebody asked for.
            enforced = name == "since_creation"
            yield Mismatch(check="V12", what=f"{name}_unknown", enforced=enforced, wanted=f"{window:.0f} s")
        elif now - begin > window:
            yield Mismatch(
                check="V12",
                what=f"{name}_is_over",
                enforced=True,
                found=f"{now - begin:.0f} s",
                wanted=f"at most {window:.0f} s",
            )


def _enforced(what: str, found: str | None, wanted: str) -> Mismatch:
    return Mismatch(check="V10", what=what, enforced=True, found=_text(found), wanted=wanted)


def _text(value: str | None) -> str:
    return "nothing" if value is None else value
