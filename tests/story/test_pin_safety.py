"""A wrong PIN counts to lockout: what is tried, remembered, told and never done again, each end of a try by itself."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hsm_enrol.errors import PinRefused, TryLater
from hsm_enrol.host.credentials import zero
from lab.luna.estate import Estate
from tests.played_host import PlayedHost
from tests.story.killed import killed


@pytest.fixture
def estate() -> Iterator[Estate]:
    with Estate() as running:
        yield running


@pytest.fixture(params=["6.2", "10.4"])
def host(request: pytest.FixtureRequest, estate: Estate, tmp_path: Path) -> PlayedHost:
    return PlayedHost(tmp_path / "host", estate, request.param)


@pytest.fixture
def newest(estate: Estate, tmp_path: Path) -> PlayedHost:
    return PlayedHost(tmp_path / "host", estate, "10.4")


def told(host: PlayedHost) -> list[tuple[Any, Any, Any]]:
    return [(one["result"], one.get("code"), one.get("pin")) for one in host.courier.told]


def wrong_pin(estate: Estate) -> None:
    for partition in estate.partitions:
        partition.pin = "another"


def test_the_try_is_on_disk_and_told_before_a_tool_has_the_pin(newest: PlayedHost) -> None:
    seen: list[tuple[str, int, str | None]] = []
    newest.courier.on_tell = lambda receipt: seen.append((receipt["result"], newest.estate.tries, newest.pin_state))
    newest.take(trial=True)
    assert seen == [("trying", 0, None), ("installed", 2, "accepted")]
    assert newest.pins() == 2


def test_without_a_trial_nothing_is_told_beforehand(newest: PlayedHost) -> None:
    newest.take(trial=False)
    assert [one for one, _, _ in told(newest)] == ["installed"]


def test_a_trial_that_is_another_instances_by_now_spends_nothing(newest: PlayedHost) -> None:
    def not_now(receipt: dict[str, Any]) -> None:
        if receipt["result"] == "trying":
            raise TryLater(reason="hold", decision="-")

    newest.courier.on_tell = not_now
    error = newest.fails(newest.take)
    assert (error.status, newest.estate.tries, newest.pin_state) == (75, 0, None)


@pytest.mark.parametrize("place", ["pin_memory:remember", "host.tools:_Talk._echo_off"])
def test_a_run_killed_before_the_pin_was_typed_leaves_a_try_that_is_never_made(newest: PlayedHost, place: str) -> None:
    before = {name: found for name, found in newest.files().items() if "hsm-enrol" not in name}
    killed(newest, "after" if "remember" in place else "before", f"hsm_enrol.{place}")
    newest.at_rest()
    assert (newest.pin_state, newest.estate.tries) == ("tried", 0)
    newest.take()
    assert newest.mend() is False
    assert (newest.pin_state, newest.estate.tries, newest.pins()) == ("tried", 0, 0)
    newest.leave()
    assert newest.pin_state == "tried"  # the next life of this host must not try it either
    after = {name for name in newest.files() if "hsm-enrol" not in name}
    assert {name for name in after if "CAFile" not in name} == set(before)


def test_a_refusal_ends_it_and_no_other_tool_gets_the_pin(host: PlayedHost) -> None:
    wrong_pin(host.estate)
    error = host.fails(host.take)
    assert (error.status, error.reason) == (77, "pin_refused")
    assert "lockout" in error.advice()
    assert (host.estate.tries, host.pins(), host.pin_state) == (1, 1, "refused")
    assert told(host)[-1] == ("failed", "pin_refused", "refused")
    calls = len(host.client.calls())
    assert isinstance(host.fails(host.take), PinRefused)
    assert len(host.client.calls()) == calls  # not even asked: joining beside it would hand out a bad PIN
    for partition in host.estate.partitions:
        partition.pin = host.estate.pin
    host.take(host.estate.bundle(serial=2, pin_id="pin-2026b"))
    assert (host.estate.tries, host.pin_state) == (3, "accepted")


def test_a_locked_partition_is_a_refusal(newest: PlayedHost) -> None:
    for partition in newest.estate.partitions:
        partition.failures = partition.limit
    assert isinstance(newest.fails(newest.take), PinRefused)
    assert newest.pin_state == "refused"


@pytest.mark.parametrize("join", ["tool", "config"])
def test_a_refused_pin_joins_by_no_way(newest: PlayedHost, join: str) -> None:
    wrong_pin(newest.estate)
    newest.fails(newest.take)
    newest.set(join=join)
    assert isinstance(newest.fails(newest.take), PinRefused)


@pytest.mark.parametrize("fault", ["asks-twice", "hang-late", "truncate", "foreign-key"])
@pytest.mark.parametrize("command", ["newGroup", "addMember"])
def test_a_try_of_unknown_end_is_told_to_nobody_and_the_editor_joins_next_time(
    newest: PlayedHost, command: str, fault: str
) -> None:
    newest.client.switch(**{command: fault})  # type: ignore[arg-type]  # commands by name
    newest.set(tool_timeout=3.0)
    error = newest.fails(newest.take)
    assert error.status == 69
    assert newest.pin_state == "tried"
    record = newest.record
    assert record is not None
    assert record.receipt_due is None
    assert told(newest) == [("trying", None, "untried")]  # the end of its lease counts the try
    tries = newest.estate.tries
    assert tries <= len(newest.estate.members)
    newest.client.switch()
    newest.take()
    assert newest.mend() is False
    assert (newest.estate.tries, newest.pin_state) == (tries, "tried")
    assert told(newest)[-1] == ("installed", None, "unused")


def test_a_tool_that_fails_before_it_asks_gives_the_try_back(newest: PlayedHost) -> None:
    newest.client.switch(newGroup="label-used")
    assert newest.fails(newest.take).status == 69
    assert (newest.pin_state, newest.record) == (None, None)
    assert told(newest)[-1] == ("failed", "tool_failed", "untried")
    newest.client.switch()
    newest.take()
    assert newest.pin_state == "accepted"


def test_a_second_member_that_refuses_is_not_asked_twice_by_a_run_that_died(newest: PlayedHost) -> None:
    """The first member took the PIN; killed before the second one's answer was noted."""
    first, second = newest.estate.partitions
    second.pin = "another"
    assert killed(newest, "after", "hsm_enrol.host.tools:_Talk._type", nth=4)  # PIN, return, PIN, return
    newest.at_rest()
    assert newest.pin_state == "tried"
    tries = second.tries
    newest.take()
    assert (first.tries, second.tries) == (1, tries)


@pytest.mark.parametrize(
    ("right", "owed"), [(True, ("failed", "interrupted", "accepted")), (False, ("failed", "pin_refused", "refused"))]
)
def test_a_run_that_died_after_a_try_owes_the_word_of_how_the_pin_fared(
    newest: PlayedHost, owed: tuple[str, str, str], *, right: bool
) -> None:
    """A fleet waits for it at the gate."""
    if not right:
        wrong_pin(newest.estate)
    assert killed(newest, "after", "hsm_enrol.pin_use:PinUse.end")
    newest.at_rest()
    record = newest.record
    assert record is not None
    assert record.receipt_due is not None
    assert (record.receipt_due.result, record.receipt_due.code, record.receipt_due.pin) == owed
    assert newest.pin_state == owed[2]


def test_leaving_does_not_forget_a_pin_that_was_refused(newest: PlayedHost) -> None:
    wrong_pin(newest.estate)
    newest.fails(newest.take)
    newest.leave()
    assert isinstance(newest.fails(newest.take), PinRefused)
    assert newest.estate.tries == 1


def test_a_signal_before_the_pin_was_typed_spends_nothing(newest: PlayedHost) -> None:
    def stop(receipt: dict[str, Any]) -> None:
        if receipt["result"] == "trying":
            os.kill(os.getpid(), signal.SIGTERM)

    newest.courier.on_tell = stop
    error = newest.fails(newest.take)
    assert (error.status, error.reason) == (75, "interrupted")
    assert (newest.estate.tries, newest.pin_state) == (0, None)
    assert told(newest)[-1] == ("failed", "interrupted", "untried")
    newest.courier.on_tell = lambda _: None
    newest.take()
    assert newest.pin_state == "accepted"


def test_after_a_lost_memory_no_tool_gets_the_pin(newest: PlayedHost) -> None:
    record = newest.path("/var/lib/hsm-enrol/record.json")
    record.parent.mkdir(mode=0o700)
    record.write_bytes(b"{")
    newest.take(damaged=True)
    assert (newest.estate.tries, newest.mend()) == (0, False)


def test_a_later_bundle_spends_no_try(host: PlayedHost) -> None:
    host.take()
    tries = host.estate.tries
    host.take(host.estate.bundle(serial=2, pin_id="pin-2026b"))
    assert host.estate.tries == tries


@pytest.mark.parametrize(("answer", "copies"), [("quit", 0), ("copy", 2)])
def test_objects_on_a_partition_are_left_or_copied_and_never_removed(
    host: PlayedHost, answer: str, copies: int
) -> None:
    host.set(existing_objects=answer)
    for partition in host.estate.partitions:
        partition.objects = True
    host.take()
    assert host.mend() is False
    assert sum(one.copies for one in host.estate.partitions) == copies
    assert not any(one.removed for one in host.estate.partitions)
    assert host.pin_state == "accepted"
    assert told(host)[-1] == ("installed", None, "accepted")


@pytest.mark.parametrize("objects_on", [0, 1])
def test_a_member_that_a_tool_quits_after_it_was_let_in_has_taken_the_pin(newest: PlayedHost, objects_on: int) -> None:
    """One member is founded or added by the tool, the other by the editor; the PIN is good for both."""
    newest.estate.partitions[objects_on].objects = True
    newest.take()
    assert (newest.pin_state, newest.estate.tries) == ("accepted", 1 + objects_on)
    newest.take(newest.estate.bundle(serial=2))
    assert newest.pin_state == "accepted"


def test_a_wrong_pin_is_refused_also_where_objects_are(host: PlayedHost) -> None:
    wrong_pin(host.estate)
    for partition in host.estate.partitions:
        partition.objects = True
    assert isinstance(host.fails(host.take), PinRefused)
    assert (host.pin_state, host.estate.tries) == ("refused", 1)


def test_a_client_that_wants_the_pin_as_an_argument_does_not_get_it(estate: Estate, tmp_path: Path) -> None:
    host = PlayedHost(tmp_path / "host", estate, "silent")
    host.take()
    assert (estate.tries, host.pins(), host.pin_state) == (0, 0, None)
    assert not any(estate.pin in word for call in host.client.calls() for word in call.argv)
    assert "PIN at a prompt" in host.said.getvalue()


def test_the_pin_is_in_no_message_and_zeroed_at_the_end(newest: PlayedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    zeroed = []

    def watched(secret: bytearray | None) -> None:
        zeroed.append(bytes(secret or b""))
        zero(secret)
        assert secret is None or not any(secret)

    monkeypatch.setattr("hsm_enrol.host.credentials.zero", watched)
    newest.client.switch(newGroup="echoes")
    newest.take()
    assert newest.estate.pin.encode() in zeroed
    assert newest.estate.pin not in newest.said.getvalue()


def test_an_orphaned_tool_keeps_other_runs_out_until_it_has_ended(newest: PlayedHost) -> None:
    """Its terminal is hung up when the agent dies; what it began is undone by the next run."""
    before = newest.files()
    killed(newest, "before", "hsm_enrol.host.tools:_Talk._echo_off")
    assert newest.path("/var/lib/hsm-enrol/undo").is_dir()
    newest.at_rest()
    after = {name: one for name, one in newest.files().items() if "hsm-enrol" not in name}
    assert after == {name: one for name, one in before.items() if "hsm-enrol" not in name}
