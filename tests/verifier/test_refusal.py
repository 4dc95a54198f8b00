"""A refusal tells the asker a reason and the operator the cause; strangers hear less."""

import pytest

from hsm_verifier.refusal import LATER, SAYABLE_EARLY, STATUS, Refusal


@pytest.mark.parametrize("reason", sorted(STATUS))
def test_every_reason_has_a_status_and_later_ones_say_when(reason: str) -> None:
    refusal = Refusal(reason, "V1 test")
    assert refusal.status == STATUS[reason]
    assert (refusal.retry_after is not None) == (reason in LATER)
    assert refusal.server_time == (reason == "clock_skew")


@pytest.mark.parametrize("reason", sorted(STATUS))
def test_a_stranger_never_hears_of_policy_or_of_earlier_enrolments(reason: str) -> None:
    told = Refusal(reason, "V10 image", alarm=True, mismatches=("image: differs",))
    heard = told.as_heard_early()
    assert heard.reason in SAYABLE_EARLY
    assert heard.detail == "V10 image"
    assert heard.alarm
    assert heard.mismatches == ("image: differs",)
    assert (heard.retry_after is None) == (told.retry_after is None)


def test_confirmed_slots_are_gone_rather_than_in_conflict() -> None:
    assert Refusal("already_enrolled", "O1 confirmed", status=410).status == 410


def test_an_unknown_reason_is_a_bug() -> None:
    with pytest.raises(KeyError):
        Refusal("because", "V1 test")
