"""A signal at an awkward moment: what the verifier is told, and a person, is what became of the host."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hsm_enrol.errors import Interrupted
from hsm_enrol.host import undo
from hsm_enrol.receipts import settle_due
from lab.luna.estate import Estate
from lab.world import World
from tests.played_host import PlayedHost


@pytest.fixture
def host(tmp_path: Path) -> Iterator[PlayedHost]:
    with Estate() as estate:
        yield PlayedHost(tmp_path / "host", estate, "7.3")


def stop_me() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def results(host: PlayedHost) -> list[str]:
    return [one["result"] for one in host.courier.told]


def test_a_signal_after_the_commit_is_no_failed_installation(host: PlayedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    close = undo._close

    def stopped(*places: str) -> None:
        stop_me()
        close(*places)

    monkeypatch.setattr(undo, "_close", stopped)
    with pytest.raises(Interrupted):
        host.take()
    monkeypatch.undo()
    assert results(host) == ["trying"]  # and not "failed"
    record = host.record
    assert record is not None
    assert record.installed is not None
    assert record.receipt_due is not None
    with host.at_work() as at:
        settle_due(at)
    assert results(host) == ["trying", "installed"]
    host.assert_no_litter()


def test_a_signal_while_a_receipt_is_told_ends_a_run_that_has_more_to_do(host: PlayedHost) -> None:
    def stop(receipt: dict[str, Any]) -> None:
        if receipt["result"] == "installed":
            stop_me()

    host.courier.on_tell = stop
    assert host.take().how == "joined"  # it was the last thing to do
    assert "the receipt is still due" in host.said.getvalue()
    with pytest.raises(Interrupted), host.at_work() as at:
        settle_due(at)
    record = host.record
    assert record is not None
    assert record.receipt_due is not None


def test_a_receipt_for_which_the_verifier_has_no_slot_of_ours_stays_due_with_a_warning(
    host: PlayedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = host.courier.tell
    monkeypatch.setattr(host.courier, "tell", lambda one, **how: take(one, **how) and results(host) == ["trying"])
    assert host.take().how == "joined"
    assert "the receipt is still due: the verifier has no slot that this host's key owns" in host.said.getvalue()
    assert host.record is not None
    assert host.record.receipt_due is not None


@pytest.mark.parametrize("command", ["status", "check"])
def test_who_does_not_want_to_wait_any_longer_has_found_no_bug(world: World, command: str) -> None:
    assert world.agent("enrol").returncode == 0
    vtl, begun = world.client.below("bin/vtl"), world.folder / "begun"
    vtl.unlink()
    vtl.write_text(f"#!/bin/sh\n: >{begun}\nexec sleep 60\n")
    vtl.chmod(0o755)
    run = world.begin_agent(command)
    while not begun.exists():
        assert run.poll() is None
        threading.Event().wait(0.02)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 75
    assert said.startswith("hsm-enrol: stopped by SIGINT; nothing is left half done")
