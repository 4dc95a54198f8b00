"""Knows the earliest moment by which a fleet could be served, whoever serves it: the measure of simulated starts."""

from __future__ import annotations

from collections.abc import Sequence

from lab.scale.scenario import Scenario


def bound(scenario: Scenario, born: Sequence[tuple[float, float]], share: float) -> tuple[float, str]:
    """Give the earliest moment by which `share` of the fleet can have its answer, whoever gives it, and what sets it.

    Each limit alone, as if all others were infinite and nothing were ever retried: when instances start and when EC2
    shows them (`born`), the verifiers' CPU, STS's quota, DescribeInstances with 200 instances a call. Receipts are no
    part of it: a verifier could leave them until everybody has an answer.
    """
    count = scenario.instances * share
    sts, describe = scenario.quotas.sts, scenario.quotas.describe
    back = scenario.network.least
    whole = 0.02 + 0.06 + 6 * back  # STS, EC2 and three exchanges at their quickest
    limits = {
        "arrival and visibility": moment(
            sorted(max(start + whole, shown + back) for start, shown in born), scenario.instances, share
        ),
        "verifiers' CPU": count * scenario.costs.answered / (scenario.verifiers * scenario.cores) + back,
        "STS quota": (count - sts[0]) / sts[1] + back,
        "DescribeInstances quota": (count / 200 - describe[0]) / describe[1] + back,
    }
    by = max(limits, key=lambda name: limits[name])
    return limits[by], by


def bound_curve(scenario: Scenario, points: int = 40) -> list[tuple[float, float]]:
    """Give the lower bound as a curve, as it is known before: whom EC2 will show late is not."""
    shares = [number / points for number in range(points + 1)]
    arrivals = [scenario.spread * number / scenario.instances for number in range(scenario.instances)]
    born = [(at, at) for at in arrivals]
    return [(bound(scenario, born, share)[0], share * scenario.instances) for share in shares]


def moment(times: list[float], count: int, share: float) -> float:
    """Give when that share of all was enrolled; infinite when it never was."""
    place = max(0, -(-int(count * share * 1000) // 1000) - 1)
    return times[place] if place < len(times) else float("inf")
