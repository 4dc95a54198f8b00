"""What is begun before its turn: one outcome, taken once by whoever needs it, and nobody is held up by it."""

import gc
import random
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from hsm_enrol import ask as asking
from hsm_enrol.ask import Asker, Question
from hsm_enrol.errors import AnswerRejected, ImdsOff, VerifierUnreachable
from hsm_enrol.host import courier as couriers
from hsm_enrol.host.courier import Courier
from hsm_enrol.host.early import Early
from hsm_enrol.host.exchange import Unanswered
from hsm_enrol.host.imds import Identity, Imds
from hsm_enrol.host.retry import Deadline
from hsm_enrol.settings import VerifierSettings
from lab import pki
from lab.bad_party import BadParty, Handler, Orders, Trouble, behave, hang_up, problem, silent
from tests.adversary.agent import agent
from tests.adversary.party import Subject
from tests.adversary.site import Site

LONG = 30.0


def test_the_outcome_is_given_to_whoever_takes_it() -> None:
    assert Early(lambda: "challenge").take(LONG) == "challenge"


def fails() -> str:
    raise KeyError("nothing")


def test_what_it_raises_is_raised_where_it_is_taken() -> None:
    early: Early[str] = Early(fails)
    with pytest.raises(KeyError, match="nothing"):
        early.take(LONG)


def test_a_failure_that_was_heard_keeps_nothing_alive() -> None:
    class Secret:
        """What a caller holds."""

    def caller() -> weakref.ref[Secret]:
        early: Early[str] = Early(fails)
        with pytest.raises(KeyError) as caught:
            early.take(LONG)
        del caught
        secret = Secret()
        return weakref.ref(secret)

    gc.disable()
    try:
        assert caller()() is None
    finally:
        gc.enable()


def test_an_outcome_ages_from_its_end_whether_it_worked_or_not() -> None:
    end = threading.Event()
    under_way = Early(end.wait)
    assert under_way.age == 0.0
    end.set()
    failed: Early[str] = Early(fails)
    with pytest.raises(KeyError):
        failed.take(LONG)
    under_way.take(LONG)
    ages = (under_way.age, failed.age)
    assert min(ages) > 0.0
    assert (under_way.age, failed.age) > ages


def test_what_never_ends_is_waited_for_no_longer_than_told() -> None:
    end = threading.Event()
    early = Early(end.wait)
    with pytest.raises(TimeoutError):
        early.take(0.01)
    end.set()
    assert early.take(LONG) is True


def test_signals_stay_the_main_threads() -> None:
    early = Early(lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    blocked = early.take(LONG)
    assert blocked is not None
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGHUP} <= blocked


def test_a_process_ends_though_it_is_under_way() -> None:
    code = "import threading; from hsm_enrol.host.early import Early; Early(threading.Event().wait)"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


# --- an agent that reads IMDS while its first challenge is on its way


@dataclass
class WatchedImds:
    """Says what was read before; `meanwhile` is done while it is read."""

    identity: Identity
    meanwhile: Callable[[], None]
    readings: int = field(default=0)

    def fetch_identity(self) -> Identity:
        self.readings += 1
        self.meanwhile()
        return self.identity


@dataclass
class Scene:
    """An agent with its courier, and the party it asks: nobody's answer but a challenge is true."""

    asker: Asker
    party: BadParty

    def ask(self, meanwhile: Callable[[], None]) -> WatchedImds:
        """Ask once, in vain; `meanwhile` is done while IMDS is read. Gives the metadata service that was read."""
        imds = WatchedImds(self.asker.imds.fetch_identity(), meanwhile)
        self.asker.imds = cast("Imds", imds)
        with pytest.raises(AnswerRejected):
            self.asker.ask(Question(reason="boot", have=None, pin=False), newest=None)
        return imds


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    site = Site(tmp_path / "site")
    try:
        authority = pki.authority("lab")
        (tmp_path / "ca.pem").write_text(authority.certificate_pem)
        with BadParty(tmp_path, pki.server(authority, ["127.0.0.1"]), Orders()) as party:
            settings = VerifierSettings(urls=(party.url,), audience="a", ca_file="/ca.pem", answer_keys=("/k",))
            courier = Courier(
                settings,
                root=str(tmp_path),
                deadline=Deadline(20),
                rng=random.Random(1),
                sleep=lambda _seconds: None,
            )
            asker = agent(Subject(site.party(), site.launch().identity), tmp_path / "host", lambda _: b"")
            asker.courier = courier
            yield Scene(asker, party)
            courier.close()
    finally:
        site.stop()


def test_the_first_challenge_and_imds_wait_for_nobody(scene: Scene) -> None:
    reading, seen = threading.Event(), threading.Event()

    def answer_when_imds_is_read(to: Handler) -> None:
        seen.set()
        assert reading.wait(LONG)
        behave(to)

    def until_the_challenge_is_asked_for() -> None:
        reading.set()
        assert seen.wait(LONG)

    scene.party.orders.challenge = [answer_when_imds_is_read]
    imds = scene.ask(until_the_challenge_is_asked_for)
    assert scene.party.messages == ["challenge", "enrolments"]
    assert (scene.party.connections, imds.readings) == (1, 1)


def test_every_other_try_reads_imds_anew_and_asks_for_a_challenge_of_its_own(scene: Scene) -> None:
    scene.party.orders.enrolments = [problem("nonce_stale", 400), problem("busy", 503), behave]
    imds = scene.ask(lambda: None)
    assert scene.party.messages == ["challenge", "enrolments"] * 3
    assert imds.readings == 3


@pytest.mark.parametrize("first", [behave, hang_up], ids=["answered", "not answered"])
def test_what_was_read_or_heard_long_ago_is_not_used(
    scene: Scene, first: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.party.orders.challenge = [first, behave]
    for module in (couriers, asking):
        monkeypatch.setattr(module, "FRESH", -1.0)
    imds = scene.ask(lambda: None)
    assert scene.party.messages == ["challenge", "challenge", "enrolments"]
    assert imds.readings == 2


def test_a_verifier_that_does_not_answer_early_is_passed_over_like_any_other(scene: Scene) -> None:
    scene.party.orders.challenge = [hang_up, behave]
    scene.ask(lambda: None)
    assert scene.party.messages == ["challenge", "challenge", "enrolments"]


def test_imds_that_fails_ends_the_run_whatever_the_verifier_does(scene: Scene) -> None:
    def switched_off() -> None:
        raise ImdsOff(endpoint="http://127.0.0.1:1")

    scene.party.orders.challenge = [silent]
    scene.asker.imds = cast("Imds", WatchedImds(scene.asker.imds.fetch_identity(), switched_off))
    with pytest.raises(ImdsOff):
        scene.asker.ask(Question(reason="boot", have=None, pin=False), newest=None)


def test_a_begun_question_that_never_ends_is_the_verifiers_silence(scene: Scene) -> None:
    scene.party.orders.challenge = [silent]
    courier = scene.asker.courier
    courier.begin()
    with pytest.raises(Unanswered) as caught:
        courier._challenge(scene.party.url, Deadline(0.05))
    assert isinstance(caught.value.error, VerifierUnreachable)
