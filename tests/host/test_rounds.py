"""Whom a fleet asks: all verifiers alike, at the start and after "later"; who answered is stayed with."""

import random
from collections import Counter

import pytest

from hsm_enrol.errors import TryLater, VerifierUnreachable
from hsm_enrol.host.exchange import Silent, Unanswered
from hsm_enrol.host.retry import Deadline
from hsm_enrol.host.rounds import AtOnce, Later, Rounds

URLS = ("https://a", "https://b", "https://c")
FLEET = 600
LATER = TryLater(reason="busy", decision="-")


class Asked:
    """One instance: says what it hears, remembers whom it asked."""

    def __init__(self, seed: int, *hears: Exception) -> None:
        self.of: list[str] = []
        self._hears = list(hears)
        self.rounds = Rounds(URLS, deadline=Deadline(60), rng=random.Random(seed), sleep=lambda _: None, on_wait=None)

    def __call__(self, url: str, _: Deadline) -> str:
        self.of.append(url)
        if not self._hears:
            self.rounds.url = url
            return "answer"
        said = self._hears.pop(0)
        if isinstance(said, Later):
            self.rounds.url = url
        raise said

    def live(self) -> list[str]:
        assert self.rounds.persist(self) == "answer"
        return self.of


def shares(asked: list[str]) -> set[bool]:
    """Tell whether each was asked by a third of the fleet, give or take a quarter of that."""
    counts = Counter(asked)
    return {abs(counts[url] - FLEET / 3) < FLEET / 12 for url in URLS}


def test_a_fleet_asks_all_verifiers_alike() -> None:
    asked = [Asked(seed).live() for seed in range(FLEET)]
    assert shares([first for (first,) in asked]) == {True}


def test_r2_each_is_asked_once_a_round_in_whatever_order() -> None:
    away = Unanswered(VerifierUnreachable(url="https://a", error="refused"))
    asked = [Asked(seed, away, away, away).live() for seed in range(FLEET)]
    assert {tuple(sorted(one[:3])) for one in asked} == {URLS}
    assert {len(one) for one in asked} == {4}
    assert shares([one[1] for one in asked]) == {True}


@pytest.mark.parametrize("later", [Later(LATER), Later(LATER, 17.0)])
def test_r3_after_later_all_are_asked_alike(later: Later) -> None:
    asked = [Asked(seed, later).live() for seed in range(FLEET)]
    assert shares([again for _, again in asked]) == {True}
    assert shares([again for first, again in asked if first == "https://a"] * 3) == {True}


def test_r3_after_now_the_same_one_is_asked() -> None:
    asked = [Asked(seed, AtOnce(LATER), AtOnce(LATER)).live() for seed in range(FLEET)]
    assert {len(set(one)) for one in asked} == {1}


def test_who_was_drawn_and_is_away_is_passed_over_and_who_answered_is_stayed_with() -> None:
    for seed in range(FLEET):
        one = Asked(seed, Later(LATER), Unanswered(VerifierUnreachable(url="https://a", error="refused")))
        _, away, answered = one.live()
        assert answered != away
        assert one.live()[3:] == [answered]


@pytest.mark.parametrize(("failure", "most"), [(Silent, 2), (Unanswered, 20)])
def test_who_keeps_an_instance_waiting_is_drawn_no_more_until_it_answers(failure: type[Unanswered], most: int) -> None:
    seen = []
    for seed in range(FLEET):
        asked: list[str] = []
        one = Rounds(URLS, deadline=Deadline(60), rng=random.Random(seed), sleep=lambda _: None, on_wait=None)

        def act(url: str, _: Deadline, asked: list[str] = asked, one: Rounds = one) -> str:
            asked.append(url)
            if url != "https://b":
                raise failure(VerifierUnreachable(url=url, error="no answer in time"))
            one.url = url
            if asked.count(url) < 20:
                raise Later(LATER, 1.0)
            return "answer"

        assert one.persist(act) == "answer"
        seen.append(max(Counter(asked)[url] for url in URLS if url != "https://b"))
    assert most / 2 <= max(seen) <= most  # twice: drawn once, and in the turn of another that was drawn


def test_who_kept_an_instance_waiting_and_answers_in_its_turn_is_drawn_again() -> None:
    silent, away = (
        kind(VerifierUnreachable(url="https://a", error="no answer in time")) for kind in (Silent, Unanswered)
    )
    for seed in range(20):
        later = [Later(LATER, 1.0)] * 40
        one = Asked(seed, silent, away, away, later[0]).live()
        assert one[3] == one[0]  # the order begins anew: it answered
        many = Asked(seed, silent, away, away, *later).live()
        assert Counter(many[4:])[many[0]] > 1
