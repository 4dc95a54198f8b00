"""Room for requests: bounded, and whom it turns away it tells a time at which there will be some."""

from collections import Counter
from collections.abc import Iterator

import pytest

from hsm_verifier.refusal import Refusal
from hsm_verifier.room import FIRST_PACE, LONGEST, Room


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def turned_away(room: Room, kind: str = "enrolment") -> float:
    with pytest.raises(Refusal, match="queue_full") as caught:
        room.enter(kind)
    assert (caught.value.reason, caught.value.status) == ("busy", 503)
    assert caught.value.retry_after is not None
    return caught.value.retry_after


def full(clock: Clock, count: int, queue: int) -> Room:
    room = Room(count, queue, clock)
    for _ in range(count + queue):
        room.enter("enrolment")
    return room


def work(room: Room, clock: Clock, pace: float, ends: int, kind: str = "enrolment") -> Iterator[None]:
    """One request after the other ends, `pace` seconds apart; another comes in its place."""
    for _ in range(ends):
        clock.now += pace
        room.leave(kind)
        room.enter(kind)
        yield


def test_there_is_room_for_so_many_and_for_one_more_when_one_has_left(clock: Clock) -> None:
    room = full(clock, 2, 3)
    assert room.waiting == 3
    assert turned_away(room) > 0
    room.leave("enrolment")
    room.enter("enrolment")
    assert room.waiting == 3
    assert turned_away(room) > 0


def test_whoever_is_turned_away_comes_after_those_who_wait_and_those_turned_away_before(clock: Clock) -> None:
    room = full(clock, 4, 10)
    waits = [turned_away(room) for _ in range(3)]
    assert waits == pytest.approx([FIRST_PACE * 10, FIRST_PACE * 11, FIRST_PACE * 12])
    clock.now += 0.5  # half of those who were told to come in this second have come
    assert turned_away(room) == pytest.approx(FIRST_PACE * (10 + 3 / 2))


def test_the_pace_is_the_one_at_which_others_end(clock: Clock) -> None:
    room = full(clock, 4, 10)
    for _ in work(room, clock, 0.5, 20):
        pass
    assert turned_away(room) == pytest.approx(0.5 * 10)
    for _ in work(room, clock, 0.1, 2000):
        pass
    assert turned_away(room) == pytest.approx(0.1 * 10, rel=0.01)


def test_pauses_in_which_nobody_waited_are_not_the_pace(clock: Clock) -> None:
    room = full(clock, 4, 10)
    for _ in work(room, clock, 0.1, 20):
        pass
    for _ in range(14):
        room.leave("enrolment")
    clock.now += 3600
    for _ in range(14):
        room.enter("enrolment")
    for _ in work(room, clock, 0.1, 2):
        pass
    assert turned_away(room) < 0.1 * 12


def test_a_pause_after_those_who_waited_gave_up_is_not_the_pace(clock: Clock) -> None:
    room = full(clock, 4, 10)
    for _ in work(room, clock, 0.005, 2):
        pass
    for _ in range(10):
        room.give_up()
    for _ in range(3):
        clock.now += 3600
        room.leave("enrolment")
    for _ in range(13):
        room.enter("enrolment")
    for _ in work(room, clock, 0.005, 2):
        pass
    assert turned_away(room) == pytest.approx(0.005 * 10)


def test_each_kind_has_bookings_of_its_own(clock: Clock) -> None:
    room = full(clock, 4, 10)
    for _ in work(room, clock, 0.5, 20):
        pass
    assert turned_away(room, "receipt") == pytest.approx(0.5 * 10)  # they wait in one queue
    assert turned_away(room) == pytest.approx(0.5 * 10)
    assert turned_away(room) == pytest.approx(0.5 * 11)
    assert turned_away(room, "receipt") == pytest.approx(0.5 * 10 + FIRST_PACE)


def test_a_kind_that_seldom_comes_waits_no_longer_than_the_queue(clock: Clock) -> None:
    room = full(clock, 4, 100)
    for _ in range(100):
        for kind in ("enrolment",) * 19 + ("receipt",):
            for _ in work(room, clock, 0.01, 1, kind):
                pass
    assert turned_away(room, "receipt") == pytest.approx(100 * 0.01, rel=0.01)
    assert turned_away(room, "receipt") == pytest.approx(100 * 0.01 + 0.2, rel=0.01)


def test_a_quiet_in_which_another_kind_was_the_last_is_not_the_pace(clock: Clock) -> None:
    room = full(clock, 4, 10)
    for kind in ("receipt", "enrolment"):
        for _ in work(room, clock, 0.01, 5, kind):
            pass
    for _ in range(14):
        room.leave("enrolment")
    clock.now += 3600
    for _ in range(14):
        room.enter("enrolment")
    for _ in work(room, clock, 0.01, 2, "receipt"):
        pass
    first = turned_away(room, "receipt")
    assert first < 0.2
    assert turned_away(room, "receipt") - first < 0.02  # the pace of its own kind


def test_who_is_turned_away_while_aws_is_slow_is_not_told_one_moment_for_all(clock: Clock) -> None:
    room = full(clock, 64, 512)
    for _ in work(room, clock, 8 / 64, 300):
        pass
    waits = [turned_away(room) for _ in range(100)]
    assert max(Counter(map(int, waits)).values()) <= 8  # as many as are served in a second
    assert LONGEST / 2 < max(waits) < LONGEST


def test_a_stall_is_not_the_pace_after_it(clock: Clock) -> None:
    room = full(clock, 4, 500)
    for _ in work(room, clock, 0.006, 200):
        pass
    clock.now += 20
    for _ in work(room, clock, 0.006, 100):
        pass
    assert turned_away(room) < 2 * 0.006 * 500


def test_who_was_told_by_a_bad_guess_keeps_nobody_from_the_room_before(clock: Clock) -> None:
    room = full(clock, 4, 10)
    for _ in work(room, clock, 0.5, 20):
        pass
    told = [turned_away(room) for _ in range(50)]
    assert max(told) > 20
    for _ in work(room, clock, 0.01, 1000):
        pass
    clock.now = int(clock.now) + 1.0
    assert turned_away(room) < 0.2


def test_a_flood_does_not_book_the_next_hour(clock: Clock) -> None:
    room = full(clock, 4, 10)
    waits = [turned_away(room) for _ in range(20_000)]
    assert max(waits) <= LONGEST
    assert min(waits[12_500:]) >= LONGEST / 2 - 1


def test_a_fleet_that_heeds_its_bookings_finds_room_at_the_first_return(clock: Clock) -> None:
    """1,000 ask at once, each takes 20 ms of the only place, 50 may wait."""
    room, pace = Room(1, 50, clock), 0.02
    arrivals = [(clock.now, 0)] * 1000
    inside, end, tries = 0, clock.now, []
    while arrivals or inside:
        if inside and (not arrivals or end <= arrivals[0][0]):
            clock.now, inside = max(clock.now, end), inside - 1
            room.leave("enrolment")
            end = clock.now + pace
            continue
        moment, before = arrivals.pop(0)
        clock.now = max(clock.now, moment)
        try:
            room.enter("enrolment")
        except Refusal as refusal:
            arrivals = sorted([*arrivals, (clock.now + (refusal.retry_after or 0), before + 1)])
        else:
            tries.append(before + 1)
            end = clock.now + pace if not inside else end
            inside += 1
    assert len(tries) == 1000
    # They were told before the pace was known; still nobody comes more than a few times, and the place is never idle.
    assert sum(tries) / 1000 < 4
    assert clock.now - 1000.0 < 1000 * pace * 1.1


def test_what_turning_others_away_costs_is_not_the_pace_however_unevenly_it_comes(clock: Clock) -> None:
    """A served one costs 10 ms, one turned away 2 ms; ends come in bursts, as look-ups are answered."""
    room = full(clock, 4, 300)
    for _ in range(40):
        for _ in range(50):
            turned_away(room)
        clock.now += 50 * 0.002 + 10 * 0.01
        for _ in work(room, clock, 0.0, 10):
            pass
    clock.now += 60  # all those bookings are over
    assert turned_away(room) == pytest.approx(301 * 0.01, rel=0.1)
