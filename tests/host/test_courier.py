"""The courier against the real verifier and against parties that are none: whom it asks and believes, when it stops.

Nobody sleeps: waits are recorded, and a played clock moves by them.
"""

import itertools
import json
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import certifi
import pytest
import requests

from hsm_enrol.errors import (
    AlreadyEnrolled,
    AnswerTooLarge,
    CaUnusable,
    ClockWrong,
    EnrolError,
    NotOurVerifier,
    Refused,
    TryLater,
    VerifierUnreachable,
    VerifierUntrusted,
)
from hsm_enrol.host.courier import Courier, Outgoing
from hsm_enrol.host.heard import LATER, NOW
from hsm_enrol.host.retry import Deadline
from hsm_enrol.host.rounds import MOST_AT_ONCE
from hsm_enrol.host.their_clock import TheirClock
from hsm_enrol.settings import VerifierSettings
from hsm_enrol.wire.messages import MAX_ANSWER, MAX_PROBLEM, REASONS, Challenge
from lab import bad_party, imds_troubles
from lab.bad_party import ANSWER, BadParty, Orders, Trouble, page, problem, says
from lab.pki import Pair, authority, server
from tests.host.look_ups import let_go
from tests.host.test_metadata import Waits
from tests.nobody import closed_port

MESSAGE = b"assertion"
IN_ORDER = 4  # a seed with which two or three addresses are asked in the order in which they are given


@pytest.fixture(scope="session")
def ca() -> Pair:
    return authority("lab verifier CA")


@pytest.fixture(scope="session")
def certificate(ca: Pair) -> Pair:
    return server(ca, ["127.0.0.1"])


@pytest.fixture
def waits() -> Waits:
    return Waits()


Party = Callable[..., BadParty]


@pytest.fixture
def party(tmp_path: Path, certificate: Pair) -> Iterator[Party]:
    """Start parties with orders; all are stopped at the end."""
    started: list[BadParty] = []

    def start(pair: Pair = certificate, **orders: object) -> BadParty:
        one = BadParty(tmp_path, pair, Orders(**orders)).__enter__()  # type: ignore[arg-type]  # orders by name
        started.append(one)
        return one

    yield start
    for one in started:
        one.stop()


class Maker:
    """Makes an assertion that is none, and notes for which challenge and at which time."""

    def __init__(self) -> None:
        self.challenges: list[Challenge] = []
        self.times: list[float] = []

    def __call__(self, challenge: Challenge, now: float) -> Outgoing:
        self.challenges.append(challenge)
        self.times.append(now)
        return Outgoing(compact=MESSAGE, instance="i-0123456789abcdef0", thumbprint="thumb")


class Office:
    """Makes couriers that trust the laboratory's CA."""

    def __init__(self, folder: Path, ca: Pair, waits: Waits) -> None:
        self.folder = folder
        self.waits = waits
        self.notes: list[str] = []
        (folder / "ca.pem").write_text(ca.certificate_pem)
        self.made: list[Courier] = []

    def courier(
        self, *urls: str, seconds: float = 600, real: bool = False, patience: float = 10, **changes: object
    ) -> Courier:
        settings = VerifierSettings(
            urls=urls, audience="hsm-enrol:test", ca_file="/ca.pem", answer_keys=("/answer-key.pem",)
        )
        one = Courier(
            replace(settings, **changes),  # type: ignore[arg-type]  # settings by name
            root=str(self.folder),
            deadline=Deadline(seconds) if real else Deadline(seconds, clock=self.waits.clock),
            rng=random.Random(IN_ORDER),
            sleep=self.waits.sleep,
            on_wait=self.waits.on_wait,
            on_exchange=self.notes.append,
            patience=patience,
        )
        self.made.append(one)
        return one


@pytest.fixture
def office(tmp_path: Path, ca: Pair, waits: Waits) -> Iterator[Office]:
    office = Office(tmp_path, ca, waits)
    yield office
    for one in office.made:
        one.close()


def nobodys_url() -> str:
    return f"https://127.0.0.1:{closed_port()}"


def mend(waits: Waits, act: Callable[[], None]) -> None:
    """Let something be mended while the courier waits."""
    sleep = waits.sleep

    def mending(seconds: float) -> None:
        sleep(seconds)
        act()

    waits.sleep = mending  # type: ignore[method-assign]  # one clock for all


# --- the ordinary way


def test_challenge_assertion_answer_and_receipt(party: Party, office: Office) -> None:
    there, make = party(), Maker()
    courier = office.courier(there.url)
    assert courier.url == ""
    assert courier.ask(make) == ANSWER
    assert courier.tell(b"receipt") is True
    assert there.seen == [("challenge", b""), ("enrolments", MESSAGE), ("receipts", b"receipt")]
    assert there.connections == 1  # kept
    assert courier.url == there.url
    assert courier.offset == 0.0
    assert len(make.challenges) == 1
    assert abs(make.times[0] - time.time()) < 5
    assert office.waits.slept == []


def test_what_make_raises_passes_through_untouched(party: Party, office: Office) -> None:
    there = party()

    def make(_challenge: Challenge, _now: float) -> Outgoing:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        office.courier(there.url).ask(make)
    assert there.messages == ["challenge"]


def test_an_assertion_is_shown_nowhere() -> None:
    assert "CANARY" not in repr(Outgoing(compact=b"CANARY", instance="i-0", thumbprint="t"))


def test_every_reason_is_now_or_later_or_final() -> None:
    final = {
        "malformed",
        "unsupported",
        "evidence_missing",
        "evidence_invalid",
        "not_admitted",
        "already_enrolled",
        "too_large",
    }
    assert NOW | LATER | final == set(REASONS)
    assert len(NOW) + len(LATER) + len(final) == len(REASONS)


# --- R2: who is no verifier is passed over

BROKEN: dict[str, Trouble] = {
    "a proxy's page, 403": page(403),
    "a proxy's page, 200": page(200),
    "a proxy's page, 503": page(503),
    "an unknown reason": problem("moon_phase", 403),
    "a problem that is not JSON": says(403, "application/problem+json", b"<html>"),
    "a problem without reason": says(403, "application/problem+json", b"{}"),
    "a problem with status 200": problem("not_admitted", 200),
    "a problem too large": problem("not_admitted", 403, detail="x" * MAX_PROBLEM),
    "a problem as plain JSON": says(403, "application/json", b'{"reason":"not_admitted","status":403}'),
    "redirect": imds_troubles.redirect,
    "gzip bomb": imds_troubles.gzip_bomb,
    "gzip bomb as a problem": says(403, "application/problem+json", b"\x1f\x8b", Content_Encoding="gzip"),
    "oversize": imds_troubles.oversize,
    "endless": imds_troubles.endless,
    "truncated": imds_troubles.truncated,
    "empty": imds_troubles.empty,
    "garbage": imds_troubles.garbage,
    "connection reset": bad_party.hang_up,
    "204 to what wants an answer": says(204, "application/jose", b""),
    "202": says(202, "application/jose", ANSWER),
}


@pytest.mark.parametrize("message", ["challenge", "enrolments"])
@pytest.mark.parametrize("trouble", BROKEN.values(), ids=BROKEN.keys())
def test_r2_who_says_no_verifiers_word_is_passed_over_at_once(
    trouble: Trouble, message: str, party: Party, office: Office
) -> None:
    first, second, make = party(**{message: [trouble]}), party(), Maker()
    courier = office.courier(first.url, second.url)
    assert courier.ask(make) == ANSWER
    assert office.waits.slept == []
    assert courier.url == second.url
    assert first.messages[-1] == message
    assert second.messages == ["challenge", "enrolments"]
    nonces = [challenge.nonce for challenge in make.challenges]
    assert len(set(nonces)) == len(nonces) == (2 if message == "enrolments" else 1)  # made anew, for a fresh nonce


ODD_CHALLENGES: dict[str, Trouble] = {
    "too large": says(200, "application/json", b'{"x":"' + b"a" * 8192 + b'"}'),
    "not JSON": says(200, "application/json", b"nonce"),
    "a bad nonce": says(200, "application/json", b'{"nonce":"a b","expires_in":1,"server_time":1}'),
    "another type": says(200, "text/plain", b"{}"),
    "an answer": says(200, "application/jose", ANSWER),
}


@pytest.mark.parametrize("trouble", ODD_CHALLENGES.values(), ids=ODD_CHALLENGES.keys())
def test_r2_a_challenge_that_is_none_leads_to_the_next(trouble: Trouble, party: Party, office: Office) -> None:
    first, second, make = party(challenge=[trouble]), party(), Maker()
    assert office.courier(first.url, second.url).ask(make) == ANSWER
    assert len(make.challenges) == 1


@pytest.mark.parametrize("handshake", ["silent", "drip", "reset", "plain"])
def test_r2_a_handshake_that_comes_to_nothing_leads_to_the_next(handshake: str, party: Party, office: Office) -> None:
    first, second = party(handshake=handshake), party()
    assert office.courier(first.url, second.url, real=True, patience=0.8).ask(Maker()) == ANSWER
    assert office.waits.slept == []


@pytest.mark.parametrize(
    "trouble", [imds_troubles.drip, imds_troubles.drip_headers, bad_party.silent], ids=["body", "headers", "nothing"]
)
@pytest.mark.parametrize("kind", ["challenge", "enrolments"])
def test_r2_a_slow_drip_is_cut_off_by_the_exchange_as_a_whole(
    trouble: Trouble, kind: str, party: Party, office: Office
) -> None:
    def answer_slowly(to: bad_party.Handler) -> None:
        to.close_connection = True
        to.begin(HTTPStatus.OK, {"Content-Type": "application/jose", "Content-Length": "4096"})
        while not to.server.stopping.wait(0.02):
            to.wfile.write(b"a")

    slow = answer_slowly if trouble is imds_troubles.drip and kind == "enrolments" else trouble
    first, second = party(**{kind: [slow]}), party()
    began = time.monotonic()
    assert office.courier(first.url, second.url, real=True, patience=0.8).ask(Maker()) == ANSWER
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("status", "kind"), [(502, "application/json"), (302, "application/json"), (200, "text/html")])
def test_r2_a_page_that_is_not_wanted_is_not_waited_for(status: int, kind: str, party: Party, office: Office) -> None:
    def promise(to: bad_party.Handler) -> None:
        to.close_connection = True
        to.begin(HTTPStatus(status), {"Content-Type": kind, "Content-Length": "4096"})
        to.server.stopping.wait(20)

    with pytest.raises(NotOurVerifier):
        office.courier(party(challenge=[promise]).url, seconds=1, patience=0.5).greet()


def test_a_stranger_with_another_ca_is_never_spoken_to(party: Party, office: Office) -> None:
    stranger = party(server(authority("stranger"), ["127.0.0.1"]), enrolments=[problem("already_enrolled", 409)])
    true = party()
    assert office.courier(stranger.url, true.url).ask(Maker()) == ANSWER
    assert stranger.seen == []


def test_all_are_tried_before_anybody_waits_and_again_after(party: Party, office: Office) -> None:
    parties = [party(challenge=[page(403), page(403), bad_party.behave]) for _ in range(3)]
    assert office.courier(*(one.url for one in parties)).ask(Maker()) == ANSWER
    assert len(office.waits.slept) == 2
    assert [len(one.seen) for one in parties] == [4, 2, 2]
    assert [seconds for _, seconds in office.waits.told] == office.waits.slept
    assert "403 without a reason" in office.waits.told[0][0]


def test_the_one_that_answered_last_is_asked_first(party: Party, office: Office) -> None:
    second = party()
    courier = office.courier(nobodys_url(), second.url)
    courier.ask(Maker())
    notes = len(office.notes)
    courier.tell(b"receipt")
    assert len(office.notes) == notes + 1  # the first one was not tried again


def test_one_that_goes_away_between_the_messages_is_replaced(party: Party, office: Office) -> None:
    first, second = party(), party()
    courier = office.courier(first.url, second.url)
    courier.ask(Maker())
    first.stop()
    courier._line.close()  # its end of a kept connection would still be open
    assert courier.tell(b"receipt") is True
    assert courier.url == second.url


# --- the cause that is told when the deadline is over


def test_nobody_listening_is_told_with_address_and_cause(office: Office) -> None:
    url = nobodys_url()
    with pytest.raises(VerifierUnreachable) as caught:
        office.courier(url).ask(Maker())
    assert caught.value.facts == {"url": url, "error": "Connection refused"}
    assert caught.value.__cause__ is None
    assert 100 < sum(office.waits.slept) <= 600


def test_a_stranger_alone_is_told_as_untrusted_with_the_ca_file(party: Party, office: Office) -> None:
    stranger = party(server(authority("stranger"), ["127.0.0.1"]))
    with pytest.raises(VerifierUntrusted) as caught:
        office.courier(stranger.url, seconds=30).ask(Maker())
    assert caught.value.facts == {"url": stranger.url, "ca_file": "/ca.pem", "why": "signed by another CA"}


def test_a_certificate_for_another_address_is_told_so(ca: Pair, party: Party, office: Office) -> None:
    other = party(server(ca, ["127.0.0.2"]))
    with pytest.raises(VerifierUntrusted) as caught:
        office.courier(other.url, seconds=9).ask(Maker())
    assert caught.value.facts["why"] == "made for another address"
    with pytest.raises(VerifierUntrusted) as caught:
        office.courier(other.url.replace("127.0.0.1", "localhost"), seconds=9).ask(Maker())
    assert caught.value.facts["why"] == "made for another host name"


def test_a_page_alone_is_told_with_its_status(party: Party, office: Office) -> None:
    there = party(challenge=[page(403)])
    with pytest.raises(NotOurVerifier) as caught:
        office.courier(there.url).ask(Maker())
    assert caught.value.facts == {"url": there.url, "status": 403}


def test_of_two_causes_the_more_telling_is_told(party: Party, office: Office) -> None:
    there = party(challenge=[page(403)])
    for urls in ((there.url, nobodys_url()), (nobodys_url(), there.url)):
        with pytest.raises(NotOurVerifier):
            office.courier(*urls, seconds=30).ask(Maker())


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (bad_party.silent, "no answer in time"),
        (imds_troubles.garbage, "the connection broke"),
        (imds_troubles.truncated, None),
    ],
)
def test_a_silent_or_babbling_one_is_told_in_our_words(
    trouble: Trouble, words: str | None, party: Party, office: Office
) -> None:
    there = party(challenge=[trouble])
    with pytest.raises((VerifierUnreachable, NotOurVerifier)) as caught:
        office.courier(there.url, seconds=1.5, patience=0.3, real=True).ask(Maker())
    assert caught.value.facts.get("error") == words


def test_a_name_that_nobody_knows_is_told_so(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(VerifierUnreachable) as caught:
        office.courier("https://vp1.example", seconds=5).ask(Maker())
    assert caught.value.facts["error"] == "its name is not known here"


def test_a_name_that_nobody_answers_for_is_waited_for_no_longer_than_a_connection(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: (answer.wait(20), [])[1])
    began = time.monotonic()
    with pytest.raises(VerifierUnreachable) as caught:
        office.courier("https://vp1.example", seconds=1, patience=0.3, real=True).ask(Maker())
    assert time.monotonic() - began < 3
    assert caught.value.facts["error"] == "no connection in time"
    let_go(answer)


def test_a_connection_that_is_never_made_is_told_so(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def request(*_: object, **__: object) -> requests.Response:
        raise requests.ConnectTimeout("CANARY")

    courier = office.courier("https://127.0.0.1:1", seconds=5)
    monkeypatch.setattr(courier._line._client._session, "send", request)
    with pytest.raises(VerifierUnreachable) as caught:
        courier.ask(Maker())
    assert caught.value.facts["error"] == "no connection in time"


# --- A1


def test_a1_an_answer_too_large_ends_it(party: Party, office: Office) -> None:
    there = party(enrolments=[says(200, "application/jose", b"a" * (MAX_ANSWER + 1))])
    with pytest.raises(AnswerTooLarge) as caught:
        office.courier(there.url).ask(Maker())
    assert caught.value.facts == {"url": there.url, "limit": MAX_ANSWER}


def test_a1_an_answer_of_exactly_the_cap_is_given_on(party: Party, office: Office) -> None:
    there = party(enrolments=[says(200, "application/jose; charset=x", b"a" * MAX_ANSWER)])
    assert office.courier(there.url).ask(Maker()) == b"a" * MAX_ANSWER


# --- the verifier's word


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("malformed", 400),
        ("unsupported", 400),
        ("evidence_missing", 403),
        ("evidence_invalid", 403),
        ("not_admitted", 403),
        ("too_large", 413),
    ],
)
def test_a_refusal_is_final_and_no_other_verifier_is_asked(
    reason: str, status: int, party: Party, office: Office
) -> None:
    first, second = party(enrolments=[problem(reason, status)]), party()
    with pytest.raises(Refused) as caught:
        office.courier(first.url, second.url).ask(Maker())
    assert caught.value.facts == {"reason": reason, "decision": "d3c1510n"}
    assert second.seen == []
    assert office.waits.slept == []


@pytest.mark.parametrize("status", [409, 410])
def test_already_enrolled_names_what_a_grant_needs(status: int, party: Party, office: Office) -> None:
    first, second = party(enrolments=[problem("already_enrolled", status)]), party()
    with pytest.raises(AlreadyEnrolled) as caught:
        office.courier(first.url, second.url).ask(Maker())
    assert caught.value.facts == {
        "decision": "d3c1510n",
        "thumbprint": "thumb",
        "instance": "i-0123456789abcdef0",
    }
    assert second.seen == []


def test_r1_a_forged_refusal_delays_and_the_true_verifier_still_serves(party: Party, office: Office) -> None:
    forger, true = party(enrolments=[problem("already_enrolled", 409)]), party()
    with pytest.raises(AlreadyEnrolled):
        office.courier(forger.url, true.url).ask(Maker())
    forger.stop()
    assert office.courier(forger.url, true.url).ask(Maker()) == ANSWER


def test_a_refusal_of_the_challenge_is_the_verifiers_word_too(party: Party, office: Office) -> None:
    there = party(challenge=[problem("already_enrolled", 409, decision="d")])
    with pytest.raises(Refused) as caught:
        office.courier(there.url, party().url).ask(Maker())
    assert caught.value.facts == {"reason": "already_enrolled", "decision": "d"}


def test_a_problem_without_decision_has_a_hyphen_there(party: Party, office: Office) -> None:
    told = says(403, "application/problem+json", b'{"reason":"not_admitted","status":403}')
    with pytest.raises(Refused) as caught:
        office.courier(party(enrolments=[told]).url).ask(Maker())
    assert caught.value.facts["decision"] == "-"


@pytest.mark.parametrize("reason", sorted(LATER))
def test_later_is_waited_for_as_long_as_it_is_said(reason: str, party: Party, office: Office) -> None:
    later = problem(reason, 503, retry_after="17")
    there, make = party(enrolments=[later, later, bad_party.behave]), Maker()
    assert office.courier(there.url).ask(make) == ANSWER
    assert office.waits.slept == [17.0, 17.0]
    assert len({challenge.nonce for challenge in make.challenges}) == 3
    assert reason in office.waits.told[0][0]


def test_r2_nobody_else_is_asked_before_the_wait_that_a_verifier_asked_for(party: Party, office: Office) -> None:
    first, second = party(enrolments=[problem("busy", 503, retry_after="17")]), party()
    mend(office.waits, lambda: seen.append(len(second.seen)))
    seen: list[int] = []
    assert office.courier(first.url, second.url).ask(Maker()) == ANSWER
    assert set(seen) == {0}
    assert set(office.waits.slept) == {17.0}
    assert second.messages == ["challenge", "enrolments"]  # in the end it is drawn


def test_r3_who_keeps_it_waiting_is_not_drawn_again(party: Party, office: Office) -> None:
    silent = party(challenge=[bad_party.silent])
    there = party(enrolments=[*[problem("busy", 503, retry_after="1")] * 12, bad_party.behave])
    assert office.courier(silent.url, there.url, patience=0.3).ask(Maker()) == ANSWER
    assert silent.messages == ["challenge"]


def test_later_without_retry_after_is_jitter(party: Party, office: Office) -> None:
    first = party(challenge=[problem("busy", 429), problem("busy", 429), bad_party.behave])
    assert office.courier(first.url).ask(Maker()) == ANSWER
    assert 0 < len([seconds for seconds in office.waits.slept if 0 <= seconds <= 1]) == 2


@pytest.mark.parametrize("reason", sorted(LATER))
def test_later_without_end_ends_with_the_deadline(reason: str, party: Party, office: Office) -> None:
    there = party(enrolments=[problem(reason, 503, retry_after="30")])
    with pytest.raises(TryLater) as caught:
        office.courier(there.url, seconds=100).ask(Maker())
    assert caught.value.facts == {"reason": reason, "decision": "d3c1510n"}
    assert office.waits.slept == [30.0, 30.0, 30.0]


def test_r3_a_retry_after_of_thirty_years_is_cut_to_fifteen_minutes(party: Party, office: Office) -> None:
    there = party(enrolments=[problem("hold", 503, retry_after="1000000000"), bad_party.behave])
    assert office.courier(there.url, seconds=3600).ask(Maker()) == ANSWER
    assert office.waits.slept == [900.0]


def test_after_a_hold_a_verifier_that_went_away_is_replaced(party: Party, office: Office) -> None:
    first, second = party(enrolments=[problem("hold", 503, retry_after="9")]), party()

    def leave() -> None:
        first.stop()
        courier._line.close()

    mend(office.waits, leave)
    courier = office.courier(first.url, second.url)
    assert courier.ask(Maker()) == ANSWER
    assert courier.url == second.url


@pytest.mark.parametrize("reason", sorted(NOW))
def test_r3_now_is_obeyed_three_times_a_run_then_it_means_later(reason: str, party: Party, office: Office) -> None:
    there, make = party(enrolments=[problem(reason, 400, ahead=0)]), Maker()
    mend(office.waits, lambda: counts.append(len(make.challenges)))
    counts: list[int] = []
    with pytest.raises(TryLater) as caught:
        office.courier(there.url, seconds=60).ask(make)
    assert caught.value.facts["reason"] == reason
    assert counts[0] == 1 + MOST_AT_ONCE == 4
    assert all(after - before == 1 for before, after in itertools.pairwise(counts))
    assert len({challenge.nonce for challenge in make.challenges}) == len(make.challenges)


def test_r3_the_three_are_for_both_reasons_together(party: Party, office: Office) -> None:
    stale, skewed = problem("nonce_stale", 400), problem("clock_skew", 400, ahead=1)
    there = party(enrolments=[stale, skewed, stale, skewed, bad_party.behave])
    assert office.courier(there.url).ask(Maker()) == ANSWER
    assert len(office.waits.slept) == 1


# --- clocks


@pytest.mark.parametrize("ahead", [-4.0, 4.0])
def test_clocks_up_to_five_seconds_apart_are_one(ahead: float, party: Party, office: Office) -> None:
    courier, make = office.courier(party(ahead=ahead).url), Maker()
    courier.ask(make)
    assert courier.offset == 0.0
    assert abs(make.times[0] - time.time()) < 5


@pytest.mark.parametrize("hours", [-3, 3])
def test_p15_hours_apart_the_assertion_is_made_by_the_verifiers_clock(hours: int, party: Party, office: Office) -> None:
    courier, make = office.courier(party(ahead=hours * 3600).url), Maker()
    assert courier.ask(make) == ANSWER
    assert abs(courier.offset - hours * 3600) < 5
    assert abs(make.times[0] - time.time() - hours * 3600) < 5


@pytest.mark.parametrize("hours", [-7, 7])
def test_p15_seven_hours_apart_nothing_is_sent(hours: int, party: Party, office: Office) -> None:
    there, make = party(ahead=hours * 3600), Maker()
    with pytest.raises(ClockWrong) as caught:
        office.courier(there.url, seconds=20).ask(make)
    assert abs(int(caught.value.facts["seconds"]) - 7 * 3600) < 5
    assert caught.value.status == 75
    assert set(there.messages) == {"challenge"}
    assert make.challenges == []


def test_a_clock_that_is_set_while_we_wait_is_right_again(party: Party, office: Office) -> None:
    there = party(ahead=7 * 3600)
    mend(office.waits, lambda: setattr(there.orders, "ahead", 0))
    courier = office.courier(there.url)
    assert courier.ask(Maker()) == ANSWER
    assert courier.offset == 0.0


def test_one_verifier_with_a_wrong_clock_does_not_stop_the_others(party: Party, office: Office) -> None:
    wrong, right = party(ahead=-7 * 3600), party()
    courier = office.courier(wrong.url, right.url)
    assert courier.ask(Maker()) == ANSWER
    assert courier.url == right.url


def test_clock_skew_brings_the_time_to_go_by(party: Party, office: Office) -> None:
    there = party(enrolments=[problem("clock_skew", 400, ahead=7 * 3600)])
    with pytest.raises(ClockWrong):
        office.courier(there.url, seconds=5).ask(Maker())


def test_the_wall_clock_set_during_an_exchange_does_no_harm(
    party: Party, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours is read once, after the exchange: what it was before does not matter."""
    there, read = party(), []
    courier = office.courier(there.url)

    def clock() -> float:
        read.append(time.time())
        return read[-1]

    monkeypatch.setattr(courier, "_theirs", TheirClock(clock))
    courier._challenge(there.url, Deadline(9))
    assert len(read) == 1


def test_a_clock_that_is_set_after_an_early_challenge_came_does_no_harm(
    party: Party, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, make, behind = party(), Maker(), [7200.0]
    courier = office.courier(there.url)
    monkeypatch.setattr(courier, "_theirs", TheirClock(lambda: time.time() - behind[0]))
    courier.begin()
    assert courier._early is not None
    courier._early[1].take(20)
    behind[0] = 0.0
    assert courier.ask(make) == ANSWER
    assert abs(make.times[0] - time.time()) < 5


def test_without_a_thread_the_challenge_is_asked_for_in_its_turn(
    party: Party, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    there = party()
    courier = office.courier(there.url)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        courier.begin()
    assert courier.ask(Maker()) == ANSWER
    assert there.messages == ["challenge", "enrolments"]


# --- receipts


def test_a_receipt_that_is_not_ours_is_told_as_false(party: Party, office: Office) -> None:
    there = party(receipts=[problem("not_admitted", 404)])
    assert office.courier(there.url).tell(b"receipt") is False


@pytest.mark.parametrize(
    "trouble",
    [
        page(404),
        says(404, "application/json", b"{}"),
        says(200, "text/plain", b"ok"),
        says(200, "", b"<html>"),
        says(200, "", b""),
    ],
    ids=["page", "json", "text", "200 of no type", "200 and nothing"],
)
def test_r1_what_is_no_204_takes_no_receipt_and_another_404_is_no_verifiers_word(
    trouble: Trouble, party: Party, office: Office
) -> None:
    with pytest.raises(NotOurVerifier):
        office.courier(party(receipts=[trouble]).url, seconds=9).tell(b"receipt")
    second = party()
    assert office.courier(party(receipts=[trouble]).url, second.url).tell(b"receipt") is True


def test_a_receipt_is_repeated_when_the_verifier_is_busy(party: Party, office: Office) -> None:
    there = party(receipts=[problem("busy", 503, retry_after="3"), lambda to: to.begin(HTTPStatus.NO_CONTENT, {})])
    assert office.courier(there.url).tell(b"receipt") is True
    assert there.seen == [("receipts", b"receipt")] * 2


def test_a_receipt_has_its_own_time_though_the_runs_is_over(party: Party, office: Office) -> None:
    there = party()
    courier = office.courier(there.url, seconds=60)
    office.waits.now += 61
    with pytest.raises(VerifierUnreachable):
        courier.tell(b"receipt")
    assert courier.tell(b"receipt", seconds=30) is True


def test_a_receipts_own_time_ends_long_before_the_runs(party: Party, office: Office) -> None:
    courier = office.courier(nobodys_url(), party(receipts=[problem("busy", 503, retry_after="9")]).url)
    with pytest.raises(TryLater):
        courier.tell(b"receipt", seconds=30)
    assert office.waits.slept == [9.0, 9.0, 9.0]


def test_a_refused_receipt_is_refused(party: Party, office: Office) -> None:
    with pytest.raises(Refused):
        office.courier(party(receipts=[problem("malformed", 400)]).url).tell(b"receipt")


# --- what the verifier writes for people


def test_free_text_is_for_the_curious_and_in_no_error(party: Party, office: Office) -> None:
    evil = "CANARY \x1b]0;owned\x07\x9b31m \u202egnp.exe\nFAKE LOG LINE" + "x" * 400
    there = party(enrolments=[problem("not_admitted", 403, detail=evil)])
    with pytest.raises(Refused) as caught:
        office.courier(there.url).ask(Maker())
    assert "CANARY" not in repr(caught.value) + caught.value.fault() + caught.value.advice()
    line = office.notes[-1]
    assert line.startswith(f"POST {there.url}/v1/enrolments: 403 not_admitted, decision d3c1510n (CANARY ")
    assert line.isprintable()
    assert len(line) < 400


def test_each_exchange_is_noted(party: Party, office: Office) -> None:
    gone, there = nobodys_url(), party()
    office.courier(gone, there.url).ask(Maker())
    assert [note.split(": ")[0] for note in office.notes] == [
        f"GET {gone}/v1/challenge",
        f"GET {there.url}/v1/challenge",
        f"POST {there.url}/v1/enrolments",
    ]
    assert "Connection refused" in office.notes[0]


def test_nobody_has_to_listen(party: Party, office: Office) -> None:
    courier = office.courier(party(challenge=[page(403), bad_party.behave]).url)
    courier._rounds._on_wait = courier._on_exchange = None
    assert courier.ask(Maker()) == ANSWER


# --- the CA file


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"", "no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificate"),
        (b"\xff\xfe", "no certificate"),
        (b"a" * (1024 * 1024 + 1), "larger"),
    ],
    ids=["missing", "empty", "damaged", "binary", "huge"],
)
def test_a_ca_file_of_no_use_is_told_before_anything_is_sent(
    content: bytes | None, words: str, tmp_path: Path, party: Party, office: Office
) -> None:
    (tmp_path / "ca.pem").unlink()
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    there = party()
    with pytest.raises(CaUnusable) as caught:
        office.courier(there.url)
    assert caught.value.facts["path"] == f"{tmp_path}/ca.pem"
    assert words in str(caught.value.facts["error"])
    assert caught.value.status == 78
    assert there.connections == 0


def test_a_ca_file_with_a_servers_certificate_is_told(tmp_path: Path, certificate: Pair, office: Office) -> None:
    (tmp_path / "ca.pem").write_text(certificate.certificate_pem)
    with pytest.raises(CaUnusable) as caught:
        office.courier("https://127.0.0.1:1")
    assert "of a CA" in str(caught.value.facts["error"])


# --- what the environment cannot do


def test_only_the_configured_ca_is_trusted_and_nothing_is_added_on_the_way(
    party: Party, office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = authority("another CA")
    (tmp_path / "other.pem").write_text(other.certificate_pem)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tmp_path / "other.pem"))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(tmp_path / "other.pem"))
    stranger, true = party(server(other, ["127.0.0.1"])), party()
    courier = office.courier(stranger.url, true.url)
    courier.ask(Maker())
    assert stranger.seen == []
    context = courier._line._client._session.get_adapter("https://")._context  # type: ignore[attr-defined]  # ours
    assert context.cert_store_stats()["x509"] == 1
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert not (tmp_path / "keys.log").exists()


def test_the_systems_store_is_trusted_when_the_settings_say_so(
    party: Party, office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = ssl.DefaultVerifyPaths("", "", "SSL_CERT_FILE", str(tmp_path / "ca.pem"), "SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    there = party()
    assert office.courier(there.url, ca_file="system").ask(Maker()) == ANSWER
    (tmp_path / "ca.pem").unlink()
    with pytest.raises(VerifierUntrusted):
        office.courier(there.url, ca_file="system", seconds=5).ask(Maker())


class Proxy:
    """A proxy that takes tunnels, or answers with something else; it notes what it hears."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> None:
        self.heard: list[bytes] = []
        self.stopping = threading.Event()
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self.url = f"http://user:CANARY@127.0.0.1:{self.address[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            first = connection.recv(4096)
            if first == b"stop":
                connection.close()
                self._listener.close()
                return
            self.heard.append(first)
            threading.Thread(target=self._tunnel, args=(connection, first), daemon=True).start()

    def _tunnel(self, connection: socket.socket, first: bytes) -> None:
        if self._answer == b"drip":
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            with connection:
                while not self.stopping.wait(0.02):
                    try:
                        connection.sendall(b"a")
                    except OSError:
                        return
            return
        connection.sendall(self._answer)
        if not self._answer.startswith(b"HTTP/1.1 200") or not first.startswith(b"CONNECT "):
            connection.close()
            return
        host, _, port = first.split()[1].decode().partition(":")
        with connection, socket.create_connection((host, int(port))) as there:
            back = threading.Thread(target=pump, args=(there, connection), daemon=True)
            back.start()
            pump(connection, there)
            back.join(10)

    def stop(self) -> None:
        self.stopping.set()
        with socket.create_connection(self.address) as end:
            end.sendall(b"stop")


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.fixture
def proxy() -> Iterator[Callable[..., Proxy]]:
    started: list[Proxy] = []

    def start(*args: bytes) -> Proxy:
        started.append(Proxy(*args))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def test_p7_proxy_variables_and_netrc_lead_nowhere(
    party: Party,
    office: Office,
    proxy: Callable[..., Proxy],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trap, there = proxy(), party()
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, trap.url)
        monkeypatch.setenv(name.upper(), trap.url)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login canary password canary\n", encoding="ascii")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    headers: list[str] = []

    def note(to: bad_party.Handler) -> None:
        headers.extend(to.headers)
        bad_party.behave(to)

    there.orders.challenge = [note]
    assert office.courier(there.url).ask(Maker()) == ANSWER
    assert trap.heard == []
    assert sorted(headers) == ["Accept-Encoding", "Host", "User-Agent"]


def test_the_settings_proxy_is_asked_for_a_tunnel_and_sees_no_more(
    party: Party, office: Office, proxy: Callable[..., Proxy]
) -> None:
    way, there = proxy(), party()
    assert office.courier(there.url, proxy=way.url).ask(Maker()) == ANSWER
    assert len(way.heard) == 1
    assert way.heard[0].startswith(b"CONNECT " + there.url.removeprefix("https://").encode())
    assert MESSAGE not in b"".join(way.heard)
    stranger = party(server(authority("stranger"), ["127.0.0.1"]))
    with pytest.raises(VerifierUntrusted):  # a proxy changes nothing about whom we trust
        office.courier(stranger.url, proxy=way.url, seconds=9).ask(Maker())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "the proxy refused"),
        (b"HTTP/1.1 407 CANARY\r\nContent-Length: 0\r\n\r\n", "the proxy refused"),
        (b"drip", "no answer in time"),
    ],
    ids=["403", "407", "drip"],
)
def test_a_proxy_that_refuses_or_drips_is_told_without_its_password(
    answer: bytes, words: str, party: Party, office: Office, proxy: Callable[..., Proxy]
) -> None:
    there = party()
    slow = answer == b"drip"
    courier = office.courier(
        there.url, proxy=proxy(answer).url, seconds=1.4 if slow else 9, patience=0.3 if slow else 10, real=slow
    )
    with pytest.raises(VerifierUnreachable) as caught:
        courier.ask(Maker())
    assert caught.value.facts["error"] == words
    assert "CANARY" not in "".join(office.notes) + str(caught.value) + repr(caught.value)


# --- the deadline


def test_p15_everything_ends_with_one_deadline(party: Party, office: Office) -> None:
    there = party(challenge=[bad_party.silent])
    began = time.monotonic()
    with pytest.raises(VerifierUnreachable) as caught:
        office.courier(there.url, there.url, seconds=0.8, patience=30, real=True).ask(Maker())
    assert time.monotonic() - began < 3
    assert caught.value.facts["error"] == "no answer in time"


def test_when_time_is_up_the_rest_of_the_verifiers_is_left_alone(party: Party, office: Office) -> None:
    first, second = party(challenge=[bad_party.silent]), party()
    with pytest.raises(VerifierUnreachable) as caught:
        office.courier(first.url, second.url, seconds=0.5, patience=30, real=True).ask(Maker())
    assert caught.value.facts["url"] == first.url
    assert second.connections == 0


def test_everything_that_can_come_out_is_an_error_with_words(party: Party, office: Office) -> None:
    """No exception of requests, urllib3, ssl or json leaves the courier, whatever is heard first."""
    rng = random.Random(11)
    pieces = [
        b"HTTP/1.1 200 OK\r\n",
        b"Content-Type: application/json\r\n",
        b"\r\n",
        b"{}",
        b"\x00\xff",
        b"Content-Length: ",
    ]

    def noise(to: bad_party.Handler) -> None:
        to.close_connection = True
        to.wfile.write(b"".join(rng.choices(pieces, k=rng.randint(0, 8))))

    there = party(challenge=[noise])
    outcomes = set()
    for _ in range(60):
        with pytest.raises(EnrolError) as caught:
            office.courier(there.url, seconds=0, real=True).ask(Maker())
        outcomes.add(type(caught.value).__name__)
    assert len(there.seen) <= 60
    assert outcomes <= {"VerifierUnreachable", "NotOurVerifier"}
    print(json.dumps(sorted(outcomes)))


def test_the_module_repeats_nothing_by_itself(party: Party, office: Office) -> None:
    there = party(challenge=[bad_party.hang_up])
    with pytest.raises(VerifierUnreachable):
        office.courier(there.url, seconds=0.5).ask(Maker())
    assert there.connections == len(office.waits.slept) + 1
