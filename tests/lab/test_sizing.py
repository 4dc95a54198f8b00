"""docs/operating.md, "Sizing": what can be counted anywhere is counted here, on the load test's own verifier."""

from pathlib import Path

import pytest

from lab.bench.generators import Plan
from lab.bench.site import aws_apart, verifier
from lab.bench.throughput import measure
from lab.bench.weight import Share, Weight, share
from lab.world import World
from tests.documents import table

COUNT = 96
NEAR = 0.1


def figure(what: str) -> float:
    rows = table("docs/operating.md", "Sizing", "what", "figure")
    return float(next(row["figure"].split()[0] for row in rows if row["what"] == what))


def test_what_enrolments_leave_and_cost_is_what_sizing_says(tmp_path: Path) -> None:
    place = tmp_path / "vp"
    with aws_apart(tmp_path / "aws", COUNT) as aws, verifier(place, aws) as site:
        empty, fleet = Weight.of(place), aws.fleet()
        assert measure(site, aws, fleet[:1], Plan(clients=1)).enrolled == 1  # the PIN is proven: nobody is held
        assert measure(site, aws, fleet[1:], Plan(clients=8)).enrolled == COUNT - 1
    each = share(empty, Weight.of(place), aws.counted, COUNT)
    assert each.audit == pytest.approx(figure("audit, an enrolment"), rel=NEAR)
    slack = 10 * 2048 / COUNT  # a file grows by pages: half of one for each table and index
    expected = figure("ledger, an instance") + figure("ledger, an instance and serial")
    assert each.ledger == pytest.approx(expected, abs=slack)
    assert each.calls["GetCallerIdentity"] == figure("STS, an enrolment")
    assert each.calls["DescribeInstances"] <= 1
    assert each.calls["GetInstanceProfile"] <= 2 / COUNT
    print(each.line())


def test_a_refresh_with_nothing_newer_leaves_one_line_and_asks_nobody(tmp_path: Path) -> None:
    with World(tmp_path, appliances=1) as world:
        assert world.agent("enrol").returncode == 0
        before, asked = Weight.of(world.party.folder), world.aws.sts.seen.total() + world.aws.api.seen.total()
        assert world.agent("refresh").returncode == 0
        after = Weight.of(world.party.folder)
        assert world.aws.sts.seen.total() + world.aws.api.seen.total() == asked
    assert after.audit - before.audit == pytest.approx(figure("audit, a refresh with nothing newer"), rel=NEAR)


def test_a_share_is_told_in_one_line() -> None:
    each = share(
        Weight(ledger=100, audit=10),
        Weight(ledger=1500, audit=410),
        {"ec2": {"DescribeInstances": 1}, "sts": {"ok": 2}},
        2,
    )
    assert each == Share(ledger=700, audit=200, calls={"DescribeInstances": 0.5, "GetCallerIdentity": 1})
    assert each.line().endswith("calls: DescribeInstances 0.50, GetCallerIdentity 1.00")
