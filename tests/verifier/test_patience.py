"""Waiting for a turn: bounded in number and in time, and nobody who gives up takes a turn along."""

import asyncio
import random
from collections.abc import Callable

import pytest

from hsm_verifier import app
from hsm_verifier.app import Turns
from hsm_verifier.refusal import Refusal
from hsm_verifier.service import Reply
from hsm_verifier.turns import wait_for

DONE = Reply(status=204, kind="", body=b"")
LIMIT = 20.0
Work = Callable[[bytes, str], Reply]


def done(_body: bytes, _source: str) -> Reply:
    return DONE


def until(opened: "asyncio.Future[None]") -> Work:
    def work(_body: bytes, _source: str) -> Reply:
        wait_for(asyncio.shield(opened))
        return DONE

    return work


async def ask(turns: Turns, work: Work = done) -> Reply | Refusal:
    try:
        return await turns.run("enrolment", work, b"", "192.0.2.1")
    except Refusal as refusal:
        return refusal


def test_who_waits_longer_than_its_patience_is_told_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "PATIENCE", 0.05)

    async def run() -> None:
        turns, opened = Turns(1, 8), asyncio.get_running_loop().create_future()
        slow = asyncio.create_task(ask(turns, until(opened)))
        await asyncio.sleep(0)
        told = await ask(turns)
        assert isinstance(told, Refusal)
        assert (told.reason, told.status, told.detail) == ("busy", 503, "V1 queue_slow")
        assert told.retry_after is not None
        opened.set_result(None)
        assert await slow is DONE
        assert await ask(turns) is DONE

    asyncio.run(asyncio.wait_for(run(), LIMIT))


def test_no_turn_is_lost_whoever_gives_up_or_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns end, patience ends and tasks are cancelled in the same moments; afterwards all turns are there."""
    monkeypatch.setattr(app, "PATIENCE", 0.004)
    seed = random.Random(7)

    async def run() -> None:
        turns, told = Turns(3, 9), []
        for _ in range(300):
            opened = asyncio.get_running_loop().create_future()
            tasks = [asyncio.create_task(ask(turns, until(opened) if n < 4 else done)) for n in range(12)]
            await asyncio.sleep(seed.choice([0, 0.002, 0.004, 0.005]))
            for task in seed.sample(tasks[4:], 3):
                task.cancel()
            opened.set_result(None)
            told += await asyncio.gather(*tasks, return_exceptions=True)
        kinds = {type(one) for one in told}
        assert kinds == {Reply, Refusal, asyncio.CancelledError}
        assert {one.detail for one in told if isinstance(one, Refusal)} == {"V1 queue_slow"}  # there was room for all
        opened = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(app, "PATIENCE", LIMIT)
        three = [asyncio.create_task(ask(turns, until(opened))) for _ in range(3)]
        await asyncio.sleep(0)
        fourth = asyncio.create_task(ask(turns))
        await asyncio.sleep(0.01)
        assert not fourth.done()
        opened.set_result(None)
        assert await asyncio.gather(*three, fourth) == [DONE] * 4

    asyncio.run(asyncio.wait_for(run(), LIMIT))


def test_room_is_given_back_by_who_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "PATIENCE", 0.01)

    async def run() -> None:
        turns, opened = Turns(1, 2), asyncio.get_running_loop().create_future()
        slow = asyncio.create_task(ask(turns, until(opened)))
        for _ in range(3):
            told = await asyncio.gather(*(ask(turns) for _ in range(3)))
            assert sorted(one.detail for one in told if isinstance(one, Refusal)) == [
                "V1 queue_full",
                "V1 queue_slow",
                "V1 queue_slow",
            ]
        opened.set_result(None)
        assert await slow is DONE

    asyncio.run(asyncio.wait_for(run(), LIMIT))
