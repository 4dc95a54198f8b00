"""The fleet simulator: made-up time keeps its order, the same seed gives the same course, and its promises hold.

HSM_SCALE_INSTANCES sets the size of the fleets (`make bench` runs ten thousand).
"""

import os
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lab import charts
from lab.scale.__main__ import enrolled_chart, wrong
from lab.scale.cloud import Weather
from lab.scale.instance import Network
from lab.scale.party import Costs
from lab.scale.play import END, launch, prove_pin, quiet, run, set_up
from lab.scale.scenario import Outcome, Scenario, troubled
from lab.scale.simulation import Cpu, Seats, Simulation

SIZE = int(os.environ.get("HSM_SCALE_INSTANCES", "80"))
PLAIN = Scenario(instances=SIZE, spread=2.0, kem="p256")


@cache
def outcome(scenario: Scenario) -> Outcome:
    return run(scenario)


def test_tasks_go_on_in_the_order_of_their_moments_and_nobody_waits() -> None:
    simulation, seen = Simulation(), []

    def task(name: str, *naps: float) -> None:
        for nap in naps:
            simulation.sleep(nap)
            seen.append((simulation.now, name))

    simulation.spawn(lambda: task("a", 10.0, 10.0))
    simulation.spawn(lambda: task("b", 5.0, 3600.0), after=1.0)
    simulation.run()
    assert seen == [(6.0, "b"), (10.0, "a"), (20.0, "a"), (3606.0, "b")]


def test_a_bell_rings_once_and_a_wait_for_it_may_end_before() -> None:
    simulation, seen = Simulation(), []
    bell = simulation.bell()

    def waiter() -> None:
        seen.append((bell.wait(2.0), simulation.now))
        seen.append((bell.wait(10.0), simulation.now))
        bell.clear()
        seen.append((bell.wait(1.0), simulation.now))

    simulation.spawn(waiter)
    simulation.at(5.0, bell.set)
    simulation.run()
    assert seen == [(False, 2.0), (True, 5.0), (False, 6.0)]


def test_a_killed_task_does_nothing_more_and_gives_its_seat_back() -> None:
    simulation, seen = Simulation(), []
    seats = Seats(simulation, 1)

    def sitter(name: str) -> None:
        seats.take()
        try:
            simulation.sleep(100.0)
            seen.append((simulation.now, name, "done"))
        finally:
            seats.leave()

    first = simulation.spawn(lambda: sitter("first"))
    simulation.spawn(lambda: sitter("second"), after=1.0)
    simulation.at(3.0, lambda: simulation.kill(first))
    simulation.run()
    assert seen == [(103.0, "second", "done")]


def test_work_queues_before_the_cores() -> None:
    simulation, seen = Simulation(), []
    cpu = Cpu(simulation, 2)

    def worker(name: str) -> None:
        cpu.work(4.0)
        seen.append((name, simulation.now))

    for name in "abc":
        simulation.spawn(lambda name=name: worker(name))  # type: ignore[misc]  # a loop's value, kept by default
    simulation.run()
    assert seen == [("a", 4.0), ("b", 4.0), ("c", 8.0)]
    assert cpu.used == 12.0


def test_a_fleet_is_served_near_the_lower_bound_and_nobody_twice() -> None:
    found = outcome(PLAIN)
    assert (found.stranded, found.owners, found.confirmed) == (0, SIZE, SIZE)
    assert found.decisions["enrolment answered new"] == SIZE
    assert found.bound99 <= found.t99 <= 1.5 * found.bound99
    print(
        f"\n{SIZE} instances: t99 {found.t99:.1f} s, bound {found.bound99:.1f} s, {found.describes_each:.3f} calls each"
    )


def test_nobody_is_quicker_than_the_lower_bound_where_receipts_come_last() -> None:
    costs = Costs(connection=0.01, challenge=0.002, enrolment=0.037, receipt=0.013)
    found = outcome(replace(PLAIN, tools=200.0, workers=2 * SIZE, spread=0.0, weather=Weather(late=0.0), costs=costs))
    assert found.bound_by == "verifiers' CPU"
    assert found.bound99 <= found.t99 <= 1.5 * found.bound99


def test_who_is_turned_away_costs_the_verifier_a_request() -> None:
    costs = Costs(connection=0.0, challenge=0.001, enrolment=0.02, receipt=0.02)
    found = outcome(replace(PLAIN, workers=2, queue=2, spread=0.0, weather=Weather(late=0.0), costs=costs))
    assert not wrong(found)
    assert found.refused_at_the_door > 0
    # A challenge for each assertion, served or not, and a request for each that was turned away.
    assert found.cpu > 0.04 * SIZE + 0.001 * (SIZE + found.refused_at_the_door) + 1e-6


def test_a_receipt_that_nobody_takes_for_half_a_minute_is_left_to_the_refresh() -> None:
    deaf = Network(storms=((3.0, 120.0),))
    found = outcome(replace(PLAIN, spread=0.0, weather=Weather(late=0.0), network=deaf))
    assert not wrong(found)
    assert found.t100 < 3.0
    assert found.receipts_by_refresh > 0
    assert outcome(PLAIN).receipts_by_refresh == 0


def test_one_seed_is_one_course_of_events() -> None:
    again = run(PLAIN)
    assert again.as_json() == outcome(PLAIN).as_json()
    assert again.enrolled_at == outcome(PLAIN).enrolled_at
    assert run(replace(PLAIN, seed=2)).enrolled_at != again.enrolled_at


def test_one_seed_is_one_course_of_crashes_too() -> None:
    crowded = Scenario(instances=4 * SIZE, spread=2.0, kem="p256", workers=16, queue=64, crashes=((1.0, 0, 2.0),))
    again = run(crowded)
    assert again.as_json() == outcome(crowded).as_json()
    assert again.enrolled_at == outcome(crowded).enrolled_at


def test_calls_follow_the_time_a_fleet_takes_and_not_its_size() -> None:
    small, large = outcome(replace(PLAIN, instances=SIZE // 4)), outcome(PLAIN)
    naive = outcome(replace(PLAIN, naive=True))
    calls = [one.calls["DescribeInstances"] for one in (small, large, naive)]
    assert calls[1] < 3 * calls[0], calls  # for four times as many
    assert calls[2] >= SIZE, calls
    # At most ten calls a second, then four, for each verifier: within the quota that all of an account share.
    assert calls[1] <= PLAIN.verifiers * (16 + 4 * large.t100) + 1, calls
    assert not large.throttled


def test_crashes_storms_and_lost_replies_strand_nobody_and_serve_nobody_twice() -> None:
    trouble = troubled(replace(PLAIN, spread=10.0))
    found = outcome(replace(trouble, network=replace(trouble.network, lost=0.1)))
    assert not wrong(found)
    sealed_again = found.decisions.get("enrolment answered again", 0)
    assert sealed_again > 0, found.decisions  # a lost answer is asked for again and sealed to the same owner
    assert found.decisions["enrolment answered new"] == SIZE
    assert found.throttled == {}


def test_connections_are_capped_and_each_is_counted_by_the_process_that_has_it(tmp_path: Path) -> None:
    slow = Network(least=0.2, most=0.6)  # a process may come and go while a connection is on its way
    crashes = tuple((at, number, 0.1) for number in (0, 1) for at in (1.0, 2.5, 3.0, 4.0, 6.0, 8.0))
    scenario = replace(PLAIN, network=slow, crashes=crashes, connections=SIZE // 8)
    stage = set_up(scenario, tmp_path)
    with quiet():
        prove_pin(stage.ledger)
        lives = launch(stage)
        for at, number, down in crashes:
            stage.simulation.at(at, partial(stage.verifiers[number].crash, down))
        stage.simulation.run(until=END)
    assert all(life.done is not None for life in lives)
    assert all(one.closed_unheard > 0 for one in stage.verifiers)
    assert [one._open for one in stage.verifiers] == [0, 0]


def test_an_instance_that_is_new_twice_or_left_out_is_told() -> None:
    found = outcome(PLAIN)
    twice = {"enrolment answered new": SIZE + 1}
    assert wrong(replace(found, decisions=found.decisions | twice)) == "served twice or not at all"
    assert wrong(replace(found, confirmed=SIZE - 1)) == "served twice or not at all"
    assert wrong(replace(found, stranded=1)) == "stranded"


def test_a_new_pin_is_tried_by_one_instance_before_the_fleet_gets_it() -> None:
    found = outcome(replace(PLAIN, proven=False))
    assert not wrong(found)
    assert found.decisions["enrolment answered new"] == SIZE
    assert found.decisions["enrolment refused V13 hold"] > 0
    assert found.t99 < 60.0


@pytest.mark.parametrize("most", [0.7, 3.0, 99.0, 12_345.0])
def test_a_chart_keeps_to_its_paper_and_names_every_line(most: float) -> None:
    series = [charts.Line(name=f"line {n}", points=[(0.0, 0.0), (most, most * n)]) for n in range(1, 4)]
    root = ET.fromstring(charts.lines("A <title> & more", series, across="seconds", up="count"))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    texts = [one.text for one in root.iter() if one.tag.endswith("text")]
    assert {"A <title> & more", "line 1", "line 2", "line 3", "seconds", "count"} <= set(texts)
    for one in root.iter():
        for point in one.attrib.get("points", "").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_the_fleets_chart_shows_each_scenario_and_the_bound() -> None:
    svg = enrolled_chart({"batched": outcome(PLAIN)}, PLAIN)
    assert "lower bound" in svg
    assert svg.count("<polyline") == 2
