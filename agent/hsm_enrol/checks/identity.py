"""Knows whether this machine can say, and prove, which instance it is."""

from __future__ import annotations

from collections.abc import Iterator

from hsm_enrol.checks.finding import Finding, fail, of_error, ok, warn
from hsm_enrol.errors import EnrolError
from hsm_enrol.shapes import dataclass

_WARM = "Warmed:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What IMDS told. `expires`: end of the identity role's credentials, Unix seconds."""

    instance: str
    region: str
    public_hostname: str | None
    role: str | None
    lifecycle: str | None
    expires: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine as it shows itself. `dmi`: the instance id in its firmware, "" where there is none.

    `proof`: why no proof can be made, None when one was. `foreign`: instances whose state lies on this disk.
    """

    endpoint: str
    link_local: bool
    told: Told | EnrolError
    dmi: str
    proof: EnrolError | None
    foreign: tuple[str, ...]
    kem: EnrolError | None


def judge(seen: Machine, now: float) -> Iterator[Finding]:
    """Give the findings."""
    if isinstance(seen.told, EnrolError):
        yield of_error("imds", seen.told)
    else:
        yield from _told(seen, seen.told, now)
    if not seen.link_local:
        hint = "imds.endpoint is for the laboratory; empty means the link-local addresses"
        yield warn("imds", f"the metadata service is asked at {seen.endpoint}", hint)
    for instance in seen.foreign:
        hint = "`enrol` wipes it; run `hsm-enrol generalize` as the last step before an image is made"
        yield warn("image", f"this disk carries the state of {instance}", hint)
    if seen.kem is not None:
        yield of_error("kem", seen.kem)


def _told(seen: Machine, told: Told, now: float) -> Iterator[Finding]:
    agreed = ", and so does its firmware" if seen.dmi == told.instance else ""
    yield ok("imds", f"IMDS says {told.instance} in {told.region}{agreed}")
    if told.public_hostname is None:
        yield ok("imds", "there is no public host name; a policy must not ask for one")
    if told.lifecycle is not None and told.lifecycle.startswith(_WARM):
        hint = "fine if it is to enrol before it is in service; the launch window counts from its start"
        yield warn("imds", f"this instance is in a warm pool ({told.lifecycle})", hint)
    if told.expires <= now:
        hint = "if the clock is right, restart the instance: AWS renews them hours before"
        yield fail("proof", "the instance identity role's credentials are expired by this machine's clock", hint)
    elif seen.proof is not None:
        yield of_error("proof", seen.proof)
    else:
        yield ok("proof", "GetCallerIdentity can be signed with the instance identity role")
