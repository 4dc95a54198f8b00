"""Challenge and problem are read open: what we do not know is ignored, what we do know is checked."""

from dataclasses import replace
from typing import Any

import pytest

from hsm_enrol.errors import WireError
from hsm_enrol.wire.messages import EVIDENCE, REASONS, Challenge, Problem
from hsm_enrol.wire.seal import KEMS
from tests.wire.samples import as_dict, dump

CHALLENGE = Challenge(nonce="n" * 43, expires_in=300, server_time=1_800_000_000)
PROBLEM = Problem(
    reason="already_enrolled", status=409, detail="asked before", decision="d-0001", server_time=1_800_000_000
)


def test_a_challenge_is_read_as_it_was_written() -> None:
    assert Challenge.from_bytes(CHALLENGE.to_bytes()) == CHALLENGE
    assert (CHALLENGE.evidence, CHALLENGE.kems) == (EVIDENCE, KEMS)


def test_a_challenge_may_name_answer_keys_and_audience() -> None:
    told = replace(CHALLENGE, answer_keys=("A" * 43, "Q" * 42 + "E"), audience="hsm-enrol:5d0c")
    assert Challenge.from_bytes(told.to_bytes()) == told
    assert not {"answer_keys", "audience"} & set(as_dict(CHALLENGE.to_bytes()))


@pytest.mark.parametrize("keys", [[], ["x"], ["A" * 43, "A" * 43], "A" * 43, None, [None]], ids=repr)
def test_e4_answer_keys_that_are_none_are_refused(keys: Any) -> None:
    with pytest.raises(WireError, match="E4"):
        Challenge.from_bytes(dump(as_dict(CHALLENGE.to_bytes()) | {"answer_keys": keys}))


def test_a_problem_is_read_as_it_was_written() -> None:
    assert Problem.from_bytes(PROBLEM.to_bytes()) == PROBLEM
    for reason in REASONS:
        short = Problem(reason=reason, status=503)
        assert Problem.from_bytes(short.to_bytes()) == short
        assert set(as_dict(short.to_bytes())) == {"type", "title", "reason", "status"}


def test_members_from_a_later_version_are_ignored() -> None:
    later = {"later": [None, {"more": 1}]}
    assert Challenge.from_bytes(dump(as_dict(CHALLENGE.to_bytes()) | later)) == CHALLENGE
    assert Problem.from_bytes(dump(as_dict(PROBLEM.to_bytes()) | later)) == PROBLEM


def test_a_reason_from_a_later_version_is_kept() -> None:
    assert Problem.from_bytes(b'{"reason":"moon_phase","status":503}').reason == "moon_phase"


@pytest.mark.parametrize("name", ["nonce", "expires_in", "server_time", "evidence", "kems", "profiles", "audience"])
@pytest.mark.parametrize("new", [None, -1, 1.5, "x\n", [1], {"x": 1}], ids=repr)
def test_e4_a_challenge_with_a_member_of_another_type_is_refused(name: str, new: Any) -> None:
    with pytest.raises(WireError, match="E4"):
        Challenge.from_bytes(dump(as_dict(CHALLENGE.to_bytes()) | {name: new}))


@pytest.mark.parametrize("name", ["reason", "status", "detail", "decision", "server_time"])
@pytest.mark.parametrize("new", [None, -1, 1.5, True, [1], {"x": 1}], ids=repr)
def test_e4_a_problem_with_a_member_of_another_type_is_refused(name: str, new: Any) -> None:
    with pytest.raises(WireError, match="E4"):
        Problem.from_bytes(dump(as_dict(PROBLEM.to_bytes()) | {name: new}))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>403</html>", id="a proxy's page"),
        pytest.param(b'{"message":"Forbidden"}', id="a gateway's JSON"),
        pytest.param(b'{"reason":"hold"}', id="no status"),
        pytest.param(b'{"reason":"Hold\\u001b[31m","status":503}', id="a reason with an escape sequence"),
        pytest.param(b'{"reason":"hold","status":99}', id="no HTTP status"),
        pytest.param(b'{"reason":"hold","status":503,"decision":"a b"}', id="a decision with a blank"),
    ],
)
def test_e4_what_is_not_our_problem_is_refused(body: bytes) -> None:
    with pytest.raises(WireError, match="E4"):
        Problem.from_bytes(body)


@pytest.mark.parametrize("nonce", ["n" * 21, "n" * 89, "n" * 22 + "=", "n" * 22 + "\n", "n" * 21 + "\u0660"])
def test_a_nonce_outside_its_grammar_is_refused(nonce: str) -> None:
    with pytest.raises(WireError, match=r"E4 challenge\.nonce"):
        Challenge.from_bytes(dump(as_dict(CHALLENGE.to_bytes()) | {"nonce": nonce}))
