"""Challenges are remembered by nobody and believed for five minutes."""

import re

import pytest

from hsm_verifier.nonce import AHEAD, LIFE, Nonces
from hsm_verifier.refusal import Refusal

KEY = bytes(range(32))
NOW = 1_800_000_000.0


def refused(nonces: Nonces, nonce: str, now: float = NOW) -> str:
    with pytest.raises(Refusal) as caught:
        nonces.check(nonce, now)
    assert caught.value.reason == "nonce_stale"
    return caught.value.detail


def test_a_nonce_has_the_protocols_alphabet_and_is_never_the_same() -> None:
    nonces = Nonces(KEY, "a")
    made = {nonces.make(NOW) for _ in range(50)}
    assert len(made) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22,88}", nonce, re.ASCII) for nonce in made)


@pytest.mark.parametrize("age", [-AHEAD, -1, 0, 1, LIFE])
def test_v4_a_nonce_is_good_from_two_minutes_ahead_to_five_minutes_old(age: float) -> None:
    nonces = Nonces(KEY, "a")
    nonces.check(nonces.make(NOW), NOW + age)


@pytest.mark.parametrize("age", [-AHEAD - 1, LIFE + 1, 86400])
def test_v4_out_of_its_time_it_is_stale(age: float) -> None:
    nonces = Nonces(KEY, "a")
    assert refused(nonces, nonces.make(NOW), NOW + age) == "V4 nonce_out_of_time"


def test_another_verifier_with_the_same_key_believes_it_and_others_do_not() -> None:
    nonce = Nonces(KEY, "a").make(NOW)
    Nonces(KEY, "a").check(nonce, NOW)
    assert refused(Nonces(KEY, "b"), nonce) == "V4 nonce_not_ours"
    assert refused(Nonces(KEY[::-1], "a"), nonce) == "V4 nonce_not_ours"


@pytest.mark.parametrize("place", [0, 10, 12, 25, 41])
def test_an_altered_nonce_is_not_ours(place: int) -> None:
    nonces = Nonces(KEY, "a")
    nonce = nonces.make(NOW)
    other = "A" if nonce[place] != "A" else "B"
    assert refused(nonces, nonce[:place] + other + nonce[place + 1 :]) == "V4 nonce_not_ours"


@pytest.mark.parametrize("nonce", ["", "A" * 22, "A" * 43, "A" * 44, "é" * 43, "A" * 42 + "B"])
def test_what_we_never_made_is_not_ours(nonce: str) -> None:
    assert refused(Nonces(KEY, "a"), nonce) == "V4 nonce_not_ours"
