import contextlib
import random
import time
from collections.abc import Callable

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from hsm_enrol.host.retry import LONGEST_RETRY_AFTER, SHORTEST_TIMEOUT, Deadline, boottime, retrying, seconds_of


class FakeTime:
    """A clock that moves only when somebody sleeps on it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Flaky(Exception):
    def __init__(self, number: int, retry_after: float | None = None) -> None:
        super().__init__(number)
        self.number = number
        self.retry_after = retry_after


def failing(times: int, retry_after: float | None = None) -> tuple[Callable[[], str], list[int]]:
    calls: list[int] = []

    def act() -> str:
        calls.append(len(calls) + 1)
        if len(calls) <= times:
            raise Flaky(len(calls), retry_after)
        return "done"

    return act, calls


def loop(fake: FakeTime, seconds: float, *, seed: int = 1, base: float = 0.2, cap: float = 10.0) -> tenacity.Retrying:
    deadline = Deadline(seconds, clock=fake.clock)
    return retrying(deadline, on=(Flaky,), sleep=fake.sleep, rng=random.Random(seed), base=base, cap=cap)


def test_what_works_at_once_is_done_once_and_nobody_waits() -> None:
    fake = FakeTime()
    act, calls = failing(0)
    assert loop(fake, 60)(act) == "done"
    assert calls == [1]
    assert fake.slept == []


def test_a_passing_trouble_is_waited_out() -> None:
    fake = FakeTime()
    act, calls = failing(4)
    assert loop(fake, 60)(act) == "done"
    assert calls == [1, 2, 3, 4, 5]
    assert len(fake.slept) == 4


def test_waits_are_full_jitter_below_a_doubling_bound() -> None:
    bounds = [min(10.0, 0.2 * 2**n) for n in range(10)]
    longest = [0.0] * 10
    for seed in range(200):
        fake = FakeTime()
        act, _ = failing(10)
        loop(fake, 10_000, seed=seed)(act)
        assert all(0 <= slept <= bound for slept, bound in zip(fake.slept, bounds, strict=True))
        longest = [max(pair) for pair in zip(longest, fake.slept, strict=True)]
    assert all(most > 0.9 * bound for most, bound in zip(longest, bounds, strict=True))  # the whole range is used


def test_two_hosts_of_one_fleet_do_not_come_back_together() -> None:
    first, second = FakeTime(), FakeTime()
    for fake, seed in ((first, 1), (second, 2)):
        act, _ = failing(5)
        loop(fake, 60, seed=seed)(act)
    assert first.slept != second.slept


def test_when_the_deadline_is_over_the_last_exception_itself_comes_out() -> None:
    fake = FakeTime()
    act, calls = failing(10**9)
    with pytest.raises(Flaky) as caught:
        loop(fake, 30)(act)
    assert caught.value.number == len(calls) > 1
    assert fake.now <= 1030.0


def test_an_expired_deadline_still_allows_the_first_try_and_no_other() -> None:
    fake = FakeTime()
    act, calls = failing(10**9)
    with pytest.raises(Flaky):
        loop(fake, 0)(act)
    assert calls == [1]
    assert fake.slept == []


def test_another_exception_is_never_repeated() -> None:
    fake = FakeTime()

    def act() -> None:
        raise KeyError("not ours")

    with pytest.raises(KeyError):
        loop(fake, 60)(act)
    assert fake.slept == []


def test_retry_after_is_honoured_as_asked() -> None:
    fake = FakeTime()
    act, _ = failing(2, retry_after=17.0)
    loop(fake, 60)(act)
    assert fake.slept == [17.0, 17.0]


def test_r3_a_retry_after_of_thirty_years_is_cut_to_fifteen_minutes() -> None:
    fake = FakeTime()
    act, _ = failing(1, retry_after=1e9)
    loop(fake, 3600)(act)
    assert fake.slept == [LONGEST_RETRY_AFTER] == [900.0]


def test_a_negative_retry_after_is_none() -> None:
    fake = FakeTime()
    act, _ = failing(1, retry_after=-5.0)
    loop(fake, 60)(act)
    assert fake.slept == [0.0]


def test_a_retry_after_beyond_the_deadline_is_not_slept_in_vain() -> None:
    fake = FakeTime()
    act, calls = failing(10**9, retry_after=120.0)
    with pytest.raises(Flaky):
        loop(fake, 100)(act)
    assert calls == [1]
    assert fake.slept == []


def test_the_last_try_has_room_of_its_own() -> None:
    for seed in range(50):
        fake = FakeTime()
        act, _ = failing(10**9)
        deadline = Deadline(30, clock=fake.clock)
        loop = retrying(deadline, on=(Flaky,), sleep=fake.sleep, rng=random.Random(seed), room=2.0)
        with pytest.raises(Flaky):
            loop(act)
        assert fake.now < 1028.0


def test_each_wait_is_told_before_it_begins() -> None:
    fake = FakeTime()
    act, _ = failing(2)
    told: list[tuple[int, float, int]] = []

    def on_wait(failure: BaseException, seconds: float) -> None:
        assert isinstance(failure, Flaky)
        told.append((failure.number, seconds, len(fake.slept)))

    deadline = Deadline(60, clock=fake.clock)
    retrying(deadline, on=(Flaky,), sleep=fake.sleep, rng=random.Random(3), on_wait=on_wait)(act)
    assert [(number, slept) for number, _, slept in told] == [(1, 0), (2, 1)]
    assert [seconds for _, seconds, _ in told] == fake.slept


def test_a_loop_can_be_used_as_attempts() -> None:
    fake = FakeTime()
    act, calls = failing(2)
    for attempt in loop(fake, 60):
        with attempt:
            act()
    assert calls == [1, 2, 3]


@given(
    seconds=st.floats(0, 1000),
    base=st.floats(0.01, 5),
    cap=st.floats(0.01, 100),
    seed=st.integers(0, 2**32),
    retry_after=st.none() | st.floats(0.5, 1e12),
)
def test_no_wait_ever_reaches_beyond_the_deadline(
    seconds: float, base: float, cap: float, seed: int, retry_after: float | None
) -> None:
    fake = FakeTime()
    act, _ = failing(30, retry_after)
    with contextlib.suppress(Flaky):
        loop(fake, seconds, seed=seed, base=base, cap=cap)(act)
    assert fake.now <= 1000.0 + seconds + 1e-6


def test_the_deadline_counts_down_and_stays_at_nothing() -> None:
    fake = FakeTime()
    deadline = Deadline(10, clock=fake.clock)
    assert deadline.remaining() == 10.0
    assert deadline.timeout(3) == 3.0
    fake.now += 8
    assert deadline.timeout(3) == 2.0
    fake.now += 8
    assert deadline.remaining() == 0.0
    assert deadline.timeout(3) == SHORTEST_TIMEOUT > 0


@pytest.mark.parametrize(("passed", "expired"), [(0.0, False), (9.9, False), (10.0, True), (1e6, True)])
def test_the_deadline_is_over_when_its_seconds_have_passed(passed: float, expired: bool) -> None:  # noqa: FBT001 - a table's column
    fake = FakeTime()
    deadline = Deadline(10, clock=fake.clock)
    fake.now += passed
    assert deadline.expired is expired


def test_p15_the_deadline_does_not_look_at_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline(1000)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    assert 990 < deadline.remaining() <= 1000


def test_boot_time_counts_the_time_asleep_too() -> None:
    assert abs(boottime() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("45", 45.0), (" 7 ", 7.0), ("9999999999", 9999999999.0)])
def test_a_retry_after_in_seconds_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", [None, "", "-1", "1.5", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT", "12345678901", "٣", "3\n4"]
)
def test_any_other_retry_after_is_as_if_absent(text: str | None) -> None:
    assert seconds_of(text) is None
