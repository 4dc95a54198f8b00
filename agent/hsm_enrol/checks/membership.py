"""Knows whether a host that was enrolled still is a member, and where between here and the HSMs it is stuck."""

from __future__ import annotations

from collections.abc import Iterator

from hsm_enrol.checks.finding import Finding, fail, of_error, of_expiry, ok, warn
from hsm_enrol.errors import EnrolError
from hsm_enrol.shapes import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """One appliance: `fault` is "" when TLS stood, by its pinned certificate and with our client certificate."""

    address: str
    port: int
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What was seen of an enrolled host. `alive` None: the tools could not be asked, or failed; `tools` says so.

    `certificates`: what, and until when (Unix seconds). `key_form`: a warning about the key's form.
    """

    record: EnrolError | None
    enrolled: bool
    members: tuple[str, ...] = ()
    alive: tuple[str, ...] | None = None
    tools: str = ""
    tools_failed: bool = False
    knocks: tuple[Knock, ...] = ()
    certificates: tuple[tuple[str, float], ...] = ()
    drift: tuple[str, ...] = ()
    key_form: str = ""
    unfinished: bool = False
    receipt_due: bool = False
    pin: str = ""


def judge(seen: Membership, now: float) -> Iterator[Finding]:
    """Give the findings."""
    if seen.record is not None:
        yield of_error("state", seen.record)
    if seen.unfinished:
        yield warn("state", "an earlier run was cut off", "`hsm-enrol enrol` finishes or undoes it first")
    if seen.receipt_due:
        yield warn("state", "the verifier was not told of the installation yet", "`hsm-enrol refresh` tells it")
    if seen.pin:
        hint = "a PIN is tried once on a host: publish a bundle with the right one (and a new PIN id)"
        yield warn("pin", f"the partition PIN was {seen.pin} here and is not tried again", hint)
    if not seen.enrolled:
        if seen.record is None:
            yield ok("state", "not enrolled yet")
        return
    for what, until in seen.certificates:
        yield of_expiry(
            "certificates", what, until, now, "publish a bundle with a new one; `hsm-enrol refresh` takes it"
        )
    if seen.key_form:
        yield warn("luna", seen.key_form, "publish a bundle whose key says BEGIN RSA PRIVATE KEY")
    for line in seen.drift:
        yield warn("drift", line, "`hsm-enrol enrol` puts it right from the record")
    for knock in seen.knocks:
        yield from _knock(knock)
    yield from _members(seen)


def _knock(knock: Knock) -> Iterator[Finding]:
    where = f"{knock.address} port {knock.port}"
    if knock.fault:
        hint = "routes, security groups, `ntls` service; after a change of its certificate publish a new bundle"
        yield fail("appliances", f"{where}: {knock.fault}", hint)
    else:
        yield ok("appliances", f"{where}: TLS stands, both certificates are accepted")


def _members(seen: Membership) -> Iterator[Finding]:
    if seen.alive is None:
        level = fail if seen.tools_failed else warn
        yield level("members", seen.tools, "run `vtl verify` by hand")
    elif not seen.alive:
        if seen.knocks and not any(one.fault for one in seen.knocks):
            hint = "on the appliance: `ntls ipcheck show` (it refuses NAT and shared pairs), then who has the partition"
            yield fail("members", "TLS stands with every appliance, and yet no partition is visible", hint)
        else:
            yield fail("members", "no partition is visible", "mend the connection to the appliances first")
    else:
        for serial in (one for one in seen.members if one not in seen.alive):
            yield warn("members", f"member {serial} is down", "the group works with the others")
        yield ok("members", f"{len(seen.alive)} of {len(seen.members)} members are there")
