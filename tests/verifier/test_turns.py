"""Turns: straight code that waits while others go on, in one thread; and what they have done in other threads."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from hsm_verifier.aside import Failed, Threads, Together
from hsm_verifier.turns import TurnBell, bell, in_turn, take_turn, wait_for

T = TypeVar("T")
LIMIT = 20.0


def all_turns(*works: Callable[[], object]) -> list[object]:
    """Let all have their turns on one loop, begun in this order; gives what each gave or raised."""

    async def run() -> list[object]:
        async with asyncio.timeout(LIMIT):
            return list(await asyncio.gather(*(take_turn(one) for one in works), return_exceptions=True))

    return asyncio.run(run())


def test_a_turn_gives_what_its_work_gives_and_raises_what_it_raises() -> None:
    def fails() -> None:
        raise LookupError("gone")

    given, raised = all_turns(lambda: in_turn() and 7, fails)
    assert given == 7
    assert isinstance(raised, LookupError)
    assert not in_turn()


def test_while_one_waits_others_have_their_turn_all_in_one_thread() -> None:
    told: list[str] = []
    threads = set()
    open_: list[asyncio.Future[str]] = []

    def waits() -> str:
        threads.add(threading.get_ident())
        open_.append(asyncio.get_running_loop().create_future())
        told.append("waits")
        found = wait_for(open_[0])
        told.append(found)
        return found

    def opens() -> None:
        threads.add(threading.get_ident())
        told.append("opens")
        open_[0].set_result("opened")

    assert all_turns(waits, opens) == ["opened", None]
    assert told == ["waits", "opens", "opened"]
    assert threads == {threading.get_ident()}


def test_what_was_waited_for_may_fail_and_the_turn_hears_of_it_where_it_waits() -> None:
    def waits() -> str:
        with pytest.raises(TimeoutError):
            wait_for(asyncio.wait_for(asyncio.Event().wait(), 0.01))
        return "went on"

    assert all_turns(waits) == ["went on"]


def test_a_turn_that_is_cancelled_hears_of_it_where_it_waits_and_cleans_up() -> None:
    cleaned: list[bool] = []

    def waits() -> None:
        try:
            wait_for(asyncio.Event().wait())
        finally:
            cleaned.append(True)

    async def run() -> None:
        task = asyncio.create_task(take_turn(waits))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert cleaned == [True]


def test_only_a_turn_can_wait() -> None:
    async def nothing() -> None:
        raise AssertionError("nobody runs this")

    never = nothing()
    with pytest.raises(RuntimeError, match="only a turn"):
        wait_for(never)
    never.close()


def test_a_bell_is_rung_by_another_turn_or_not_in_time() -> None:
    told: list[object] = []

    def waits(mine: TurnBell, seconds: float) -> bool:
        return mine.wait(seconds)

    def both() -> None:
        early, late, never = TurnBell(), TurnBell(), TurnBell()
        early.set()
        told.append(early.wait(0))
        early.clear()
        told.append(early.wait(0))
        asyncio.get_running_loop().call_later(0.01, late.set)
        told.append(waits(late, LIMIT))
        told.append(waits(never, 0.01))

    assert all_turns(both) == [None]
    assert told == [True, False, True, False]


def test_whoever_asks_for_a_bell_gets_one_that_keeps_nobody_else_waiting() -> None:
    assert isinstance(bell(), threading.Event)
    (kind,) = all_turns(lambda: type(bell()))
    assert kind is TurnBell


@pytest.fixture
def threads() -> Threads:
    return Threads(2, "test")


def test_work_aside_is_in_another_thread_while_turns_go_on(threads: Threads) -> None:
    entered, leave = threading.Event(), threading.Event()

    def works() -> int:
        entered.set()
        assert leave.wait(LIMIT)
        return threading.get_ident()

    def lets_go() -> bool:
        leave.set()
        return True

    ident, let_go = all_turns(lambda: threads(works), lets_go)
    assert entered.is_set()
    assert let_go
    assert ident != threading.get_ident()
    threads.close()


def test_work_aside_raises_to_its_turn_and_outside_a_turn_is_done_in_place(threads: Threads) -> None:
    def fails() -> None:
        raise LookupError("gone")

    (raised,) = all_turns(lambda: threads(fails))
    assert isinstance(raised, LookupError)
    assert threads(threading.get_ident) == threading.get_ident()
    with pytest.raises(LookupError):
        threads(fails)


class Goes:
    """Takes down what was done in each go; a go waits until it is let."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.first, self.leave = threading.Event(), threading.Event()

    def __call__(self, jobs: list[int]) -> list[int | Failed]:
        self.seen.append(jobs)
        if len(self.seen) == 1:
            self.first.set()
            assert self.leave.wait(LIMIT)
        return [Failed(LookupError(str(job))) if job == 3 else job * 10 for job in jobs]


def test_who_asks_while_a_go_is_under_way_is_in_the_next_in_order_and_at_most_so_many() -> None:
    goes = Goes()
    together = Together[int, int](goes, name="test", most=3)

    def asks(job: int) -> Callable[[], int]:
        def work() -> int:
            if job == 5:  # the last: everybody has asked
                wait_for(asyncio.get_running_loop().run_in_executor(None, goes.first.wait, LIMIT))
                asyncio.get_running_loop().call_soon(goes.leave.set)
            return together.ask(job)

        return work

    found = all_turns(*(asks(job) for job in range(6)))
    assert goes.seen == [[0], [1, 2, 3], [4, 5]]
    assert [one if isinstance(one, int) else str(one) for one in found] == [0, 10, 20, "3", 40, 50]
    together.close()


def test_what_a_whole_go_raises_everybody_hears_and_the_next_goes_on() -> None:
    broken = [True]

    def carry_out(jobs: list[int]) -> list[int | Failed]:
        if broken.pop():
            raise OSError("disk")
        broken.append(False)
        return [*jobs]

    together = Together[int, int](carry_out, name="test")
    (raised,) = all_turns(lambda: together.ask(1))
    assert isinstance(raised, OSError)
    broken.append(False)
    assert all_turns(lambda: together.ask(2), lambda: together.ask(3)) == [2, 3]


def test_an_asker_that_is_given_up_disturbs_no_other() -> None:
    goes = Goes()
    together = Together[int, int](goes, name="test")

    async def run() -> object:
        given_up, stays = (asyncio.create_task(take_turn(lambda job=job: together.ask(job))) for job in (1, 2))  # type: ignore[misc]  # a default that binds
        await asyncio.get_running_loop().run_in_executor(None, goes.first.wait, LIMIT)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        goes.leave.set()
        return await stays

    assert asyncio.run(run()) == 20
    assert goes.seen == [[1], [2]]


def test_outside_a_turn_a_job_is_done_in_place_and_alone() -> None:
    goes = Goes()
    goes.leave.set()
    together = Together[int, int](goes, name="test")
    assert together.ask(4) == 40
    with pytest.raises(LookupError):
        together.ask(3)
    assert goes.seen == [[4], [3]]


def test_a_thread_that_cannot_be_started_is_found_out_before_anybody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", cannot)
        with pytest.raises(RuntimeError, match="can't start"):
            Together[int, int](Goes(), name="test")


def test_an_exception_that_no_future_takes_reaches_who_asked_and_the_others_go_on(threads: Threads) -> None:
    together = Together[object, object](lambda jobs: [Failed(StopIteration()), *jobs[1:]], name="test")

    def hears(work: Callable[[], object]) -> Callable[[], object]:
        def turn() -> object:
            try:
                return work()
            except StopIteration:
                return "stopped"

        return turn

    assert all_turns(hears(lambda: threads(lambda: next(iter(())))), lambda: threads(lambda: 7)) == ["stopped", 7]
    assert all_turns(hears(lambda: together.ask(1))) == ["stopped"]
    threads.close()
    together.close()
