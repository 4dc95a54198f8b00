"""Knows why a partition may not be visible: tries each appliance's TLS itself, by its pinned certificate and our pair.

Three things look alike to the Luna tools and want three different people: an appliance that cannot be reached (the
network), a certificate that is not accepted (its, or ours), and TLS that stands without a partition (ipcheck, NAT).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hsm_enrol.errors import AppliancesUnreachable, CertificateNotAccepted, EnrolError, NoSlots
from hsm_enrol.host.folders import below
from hsm_enrol.host.peer import knock
from hsm_enrol.model import Desired
from hsm_enrol.shapes import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """One appliance: `reached` when it took the connection; `fault` is "" when TLS stood, by both certificates."""

    address: str
    port: int
    reached: bool
    fault: str

    def line(self) -> str:
        """Say how it went."""
        return f"{self.address} port {self.port}: {self.fault or 'TLS stands, both certificates are accepted'}"


def knock_at_all(desired: Desired, root: str) -> tuple[Knock, ...]:
    """Try every appliance, one after the other; nothing is said inside TLS, so no PIN try is spent."""
    cert, key = below(root, desired.paths.cert), below(root, desired.paths.key)
    found = []
    for one in desired.servers:
        reached, fault = knock(one.address, one.port, one.certificate, cert_file=cert, key_file=key)
        found.append(Knock(address=one.address, port=one.port, reached=reached, fault=fault))
    return tuple(found)


@contextmanager
def explained(desired: Desired, root: str) -> Iterator[None]:
    """Say of "no partition is visible" what stands behind it."""
    try:
        yield
    except NoSlots:
        raise why_no_slots(knock_at_all(desired, root)) from None


def why_no_slots(knocks: Sequence[Knock]) -> EnrolError:
    """Give the error that fits: one appliance with good TLS is enough to look for the fault behind TLS."""
    if any(one.reached and not one.fault for one in knocks):
        return NoSlots()
    reached = [one for one in knocks if one.reached]
    if reached:
        first = reached[0]
        return CertificateNotAccepted(address=first.address, port=first.port, what=first.fault)
    if knocks:
        first = knocks[0]
        return AppliancesUnreachable(address=first.address, port=first.port, what=first.fault)
    return NoSlots()
