"""What a request leaves behind: nothing that only Python's collector could find, for it would keep keys until then."""

import asyncio
import gc
import os
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hsm_enrol.wire.answer import verify_answer
from hsm_enrol.wire.assertion import sign_assertion
from hsm_enrol.wire.messages import RECEIPT_TYPE
from hsm_verifier.__main__ import main as verifier_main
from hsm_verifier.aside import Threads, Together, attempt
from hsm_verifier.cli import serve as cli_serve
from hsm_verifier.service import let_go
from hsm_verifier.turns import take_turn
from lab.nursery import Born
from tests.verifier import played_server
from tests.verifier.served import serving
from tests.verifier.visitor import Visitor

FEW, MANY = 3, 18  # one instance may be answered twenty times


def main(words: list[str]) -> int:
    """Run the server while its collector sleeps; at the end write down what one finds, how many of each kind."""

    def look() -> None:
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        kinds = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage)
        Path(words[0], "left").write_text("".join(f"{kind} {count}\n" for kind, count in kinds.items()))

    gc.disable()
    return played_server.main(words, look)


def left_by(folder: Path, times: int) -> Counter[str]:
    """Ask so many times, each on new connections: answered, refused by decision and at sight, told, not served."""
    with serving(folder, main, requests_per_source=1000.0, burst_per_source=1000) as served:
        serial = served.publish()
        owner, stranger = Visitor.of(served), Visitor.of(served)
        for _ in range(times):
            reply = owner.post(sign_assertion(owner.request(), owner.key))
            nonce = verify_answer(reply.content, [owner.answer_key()]).nonce
            assert stranger.post(sign_assertion(stranger.request(), stranger.key)).status_code == 409
            assert stranger.post(b"no token").status_code == 400
            owner.session.close()
            stranger.session.close()
        (bundle,) = (folder / "bundles" / "web").glob("*.sealed")
        bundle.write_bytes(b"broken")
        for _ in range(times):
            assert owner.post(sign_assertion(owner.request(), owner.key)).status_code == 503
        assert owner.post(owner.receipt(serial, nonce), "receipts", RECEIPT_TYPE).status_code == 204
        assert served.stop() == 0
        lines = (folder / "left").read_text().splitlines()
    return Counter({kind: int(count) for kind, count in (line.split() for line in lines)})


def test_no_request_leaves_a_cycle(tmp_path: Path) -> None:
    few, many = left_by(tmp_path / "few", FEW), left_by(tmp_path / "many", MANY)
    assert {kind: count for kind, count in (many - few).items() if count >= MANY - FEW} == {}


def settled(words: list[str]) -> int:
    """Come as far as serving; print how the collector is set by then and whether it still works."""

    before = gc.get_freeze_count() + 1000  # the nursery has frozen what it holds

    def serve(*_words: object, **_settings: object) -> None:
        print(gc.isenabled(), gc.get_freeze_count() > before, gc.get_threshold())
        first = weakref.ref(made := Key())
        for _ in range(3 * cli_serve.COLLECT_AFTER):
            made.other = made
            made = Key()
        print(first() is None)

    pytest.MonkeyPatch().setattr(cli_serve, "serve", serve)
    return verifier_main(["serve", "--config", words[0], "--listen", "127.0.0.1:0"])


def test_the_collector_is_put_at_rest_before_serving_and_still_works(tmp_path: Path) -> None:
    assert verifier_main(["init", str(tmp_path / "vp"), "--host", "127.0.0.1"]) == 0
    process = Born(settled, [str(tmp_path / "vp" / "hsm-verifier.toml")], Path(os.devnull), os.environ)
    assert process.stdout is not None
    with process.stdout as told:
        assert told.read().splitlines() == [f"True True ({cli_serve.COLLECT_AFTER}, 10, 10)", "True"]
    assert process.wait(20) == 0


class Key:
    """What somebody had in hand when something failed."""

    other: "Key"


Ask = Callable[[Callable[[], None]], None]


@contextmanager
def in_a_thread() -> Iterator[Ask]:
    threads = Threads(1, "test")
    yield threads
    threads.close()


@contextmanager
def with_others() -> Iterator[Ask]:
    together: Together[Callable[[], None], None] = Together(lambda works: [attempt(one) for one in works], name="test")
    yield together.ask
    together.close()


@contextmanager
def collector_asleep() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("aside", [in_a_thread, with_others])
def test_what_was_in_hand_is_gone_with_an_error_that_is_let_go(aside: Callable[[], Any]) -> None:
    held: list[weakref.ref[Key]] = []

    def fails() -> None:
        key = Key()
        held.append(weakref.ref(key))
        try:
            int("no number")
        except ValueError:
            raise LookupError from None  # what it came of is not shown, but kept

    def turn() -> str:
        key = Key()
        held.append(weakref.ref(key))
        try:
            ask(fails)
        except LookupError as error:
            return type(let_go(error)).__name__
        return "nothing"

    with aside() as ask, collector_asleep():
        assert asyncio.run(take_turn(turn)) == "LookupError"
        assert [one() for one in held] == [None, None]
