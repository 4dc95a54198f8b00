"""One test per way in which IMDS, or what stands in its place, can go wrong. Nobody sleeps: waits are recorded."""

import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from hsm_enrol.errors import ImdsHopLimit, ImdsOdd, ImdsOff, ImdsThrottled, ImdsUnreachable
from hsm_enrol.host import metadata
from hsm_enrol.host.bounded import Turn, _Socket
from hsm_enrol.host.metadata import MOST_BYTES, ROOM, Metadata
from hsm_enrol.host.retry import Deadline
from lab.imds import Faults, ImdsServer
from tests.nobody import closed_port

ITEM = "meta-data/instance-id"


class Waits:
    """Sleep and clock in one: time passes only by waiting."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.told: list[tuple[str, float]] = []
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def on_wait(self, why: str, seconds: float) -> None:
        self.told.append((why, seconds))


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def server() -> Iterator[ImdsServer]:
    with ImdsServer() as running:
        yield running


def asker(waits: Waits, *endpoints: str, seconds: float = 120, patience: float = 5, real: bool = False) -> Metadata:
    deadline = Deadline(seconds) if real else Deadline(seconds, clock=waits.clock)
    return Metadata(
        endpoints,
        deadline=deadline,
        rng=random.Random(7),
        sleep=waits.sleep,
        on_wait=waits.on_wait,
        patience=patience,
    )


def nobodys_endpoint() -> str:
    return f"http://127.0.0.1:{closed_port()}"


def test_an_item_is_read_with_a_token_of_version_2(server: ImdsServer, waits: Waits) -> None:
    assert asker(waits, server.endpoint).fetch(ITEM) == server.machine.instance_id.encode()
    assert server.seen == {"PUT token": 1, f"GET {ITEM}": 1}
    assert waits.slept == []


def test_one_token_serves_many_reads(server: ImdsServer, waits: Waits) -> None:
    ask = asker(waits, server.endpoint)
    for _ in range(5):
        ask.fetch(ITEM)
    assert server.seen["PUT token"] == 1


def test_a_service_that_closes_after_each_answer_is_survived(server: ImdsServer, waits: Waits) -> None:
    ask = asker(waits, server.endpoint)
    for _ in range(3):
        ask.fetch(ITEM)
    assert server.connections == 4
    assert waits.slept == []


def test_one_connection_is_kept_where_the_service_allows_it(waits: Waits) -> None:
    with ImdsServer(keep_alive=True) as server:
        ask = asker(waits, server.endpoint)
        for _ in range(5):
            ask.fetch(ITEM)
        assert ask.fetch("meta-data/public-hostname") is None
        ask.fetch(ITEM)
        assert server.connections == 1
        ask.close()


def test_p8_what_is_not_there_is_none_and_its_page_no_value(server: ImdsServer, waits: Waits) -> None:
    assert asker(waits, server.endpoint).fetch("meta-data/public-hostname") is None
    assert waits.slept == []


def test_an_expired_token_is_renewed_once_and_the_read_repeated(server: ImdsServer, waits: Waits) -> None:
    ask = asker(waits, server.endpoint)
    ask.fetch(ITEM)
    server.expire_tokens()
    assert ask.fetch(ITEM) == server.machine.instance_id.encode()
    assert server.seen == {"PUT token": 2, f"GET {ITEM}": 3}
    assert waits.slept == []


def test_a_token_good_for_one_use_still_reads_everything(waits: Waits) -> None:
    with ImdsServer(faults=Faults(token_uses=1)) as server:
        ask = asker(waits, server.endpoint)
        assert [ask.fetch(ITEM) for _ in range(3)] == [server.machine.instance_id.encode()] * 3
        assert server.seen["PUT token"] == 3


def test_a_fresh_token_refused_is_odd_and_not_asked_for_ever(waits: Waits) -> None:
    with ImdsServer(faults=Faults(token_uses=0)) as server:
        with pytest.raises(ImdsOdd) as caught:
            asker(waits, server.endpoint).fetch(ITEM)
        assert caught.value.facts["what"] == "status 401"
        assert server.seen["PUT token"] == 1


def test_a_service_switched_off_ends_it_at_once(waits: Waits) -> None:
    with ImdsServer(faults=Faults(off=True)) as server:
        with pytest.raises(ImdsOff) as caught:
            asker(waits, server.endpoint).fetch(ITEM)
        assert caught.value.facts == {"endpoint": server.endpoint}
        assert server.seen == {"PUT token": 1}
    assert waits.slept == []


def test_an_item_forbidden_ends_it_at_once(waits: Waits) -> None:
    with ImdsServer(faults=Faults(status={ITEM: 403})) as server, pytest.raises(ImdsOff):
        asker(waits, server.endpoint).fetch(ITEM)
    assert waits.slept == []


@pytest.mark.parametrize("item", ["token", ITEM, "*"])
def test_p16_throttling_at_launch_is_waited_out(item: str, waits: Waits) -> None:
    with ImdsServer(faults=Faults(throttle={item: 4})) as server:
        assert asker(waits, server.endpoint).fetch(ITEM) == server.machine.instance_id.encode()
    assert len(waits.slept) == 4
    assert [seconds for _, seconds in waits.told] == waits.slept
    assert "503" in waits.told[0][0]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_throttling_without_end_ends_with_the_deadline(status: int, waits: Waits) -> None:
    with ImdsServer(faults=Faults(status={ITEM: status})) as server, pytest.raises(ImdsThrottled) as caught:
        asker(waits, server.endpoint, seconds=60).fetch(ITEM)
    assert caught.value.facts == {"status": status, "seconds": 60}
    assert 0 < sum(waits.slept) <= 60


@pytest.mark.parametrize("seed", range(12))
def test_no_last_attempt_is_squeezed_in_whose_time_out_would_hide_the_cause(seed: int, waits: Waits) -> None:
    with ImdsServer(faults=Faults(status={ITEM: 503})) as server:
        deadline = Deadline(3, clock=waits.clock)
        one = Metadata([server.endpoint], deadline=deadline, rng=random.Random(seed), sleep=waits.sleep)
        with pytest.raises(ImdsThrottled):
            one.fetch(ITEM)
    assert deadline.remaining() >= ROOM


def test_r3_a_throttling_answer_may_say_when_to_come_back(waits: Waits) -> None:
    with ImdsServer(faults=Faults(throttle={ITEM: 2}, retry_after="9")) as server:
        asker(waits, server.endpoint).fetch(ITEM)
    assert waits.slept == [9.0, 9.0]


def test_connections_reset_at_launch_are_waited_out(waits: Waits) -> None:
    with ImdsServer(faults=Faults(resets=3)) as server:
        assert asker(waits, server.endpoint).fetch(ITEM) == server.machine.instance_id.encode()
    assert len(waits.slept) == 3


def test_nobody_listening_is_told_with_the_address_and_the_cause(waits: Waits) -> None:
    endpoint = nobodys_endpoint()
    with pytest.raises(ImdsUnreachable) as caught:
        asker(waits, endpoint, seconds=30).fetch(ITEM)
    assert caught.value.facts == {"endpoint": endpoint, "error": "Connection refused"}
    assert 0 < sum(waits.slept) <= 30


def test_p6_a_dropped_token_answer_beside_a_live_service_is_the_hop_limit(waits: Waits) -> None:
    with ImdsServer(faults=Faults(token_timeout=True)) as server:
        with pytest.raises(ImdsHopLimit) as caught:
            asker(waits, server.endpoint, patience=0.2).fetch(ITEM)
        assert caught.value.facts == {"endpoint": server.endpoint}
        assert server.seen["PUT token"] == metadata.SILENT_PUTS
    assert len(waits.slept) == metadata.SILENT_PUTS - 1


def test_p6_the_hop_limit_is_named_though_the_deadline_comes_first(waits: Waits) -> None:
    with ImdsServer(faults=Faults(token_timeout=True)) as server, pytest.raises(ImdsHopLimit):
        asker(waits, server.endpoint, seconds=1.2, patience=5, real=True).fetch(ITEM)


def test_a_service_silent_to_everything_is_unreachable(waits: Waits) -> None:
    with ImdsServer(faults=Faults(silent=True)) as server, pytest.raises(ImdsUnreachable) as caught:
        asker(waits, server.endpoint, seconds=1, patience=0.05).fetch(ITEM)
    assert caught.value.facts["error"] == "no answer in time"


def test_one_dropped_token_answer_is_no_hop_limit_yet(waits: Waits) -> None:
    with ImdsServer(faults=Faults(token_timeout=True)) as server:

        class Mending(Waits):
            def sleep(self, seconds: float) -> None:
                super().sleep(seconds)
                server.faults.token_timeout = False

        assert asker(Mending(), server.endpoint, patience=0.3).fetch(ITEM) == server.machine.instance_id.encode()


@pytest.mark.parametrize("status", [201, 204, 206, 301, 302, 307, 400, 405, 418])
def test_a_status_that_means_nothing_here_is_odd_at_once(status: int, waits: Waits) -> None:
    with ImdsServer(faults=Faults(status={ITEM: status})) as server, pytest.raises(ImdsOdd) as caught:
        asker(waits, server.endpoint).fetch(ITEM)
    assert caught.value.facts == {"item": ITEM, "what": f"status {status}", "endpoint": server.endpoint}
    assert waits.slept == []


@pytest.mark.parametrize("status", [400, 404, 405])
def test_a_service_without_version_2_is_odd_and_never_asked_by_version_1(status: int, waits: Waits) -> None:
    with ImdsServer(faults=Faults(status={"token": status})) as server:
        with pytest.raises(ImdsOdd):
            asker(waits, server.endpoint).fetch(ITEM)
        assert server.seen == {"PUT token": 1}


@pytest.mark.parametrize("trouble", ["html", "empty", "oversize"])
def test_a_token_that_is_none_is_odd(trouble: str, waits: Waits) -> None:
    with ImdsServer(faults=Faults(odd={"token": trouble})) as server, pytest.raises(ImdsOdd):
        asker(waits, server.endpoint).fetch(ITEM)


@pytest.mark.parametrize("token", [b"a\nX-Evil: 1", b"a b", "tøken".encode(), b"a" * 1025])
def test_a_token_that_would_break_out_of_its_header_is_odd(token: bytes, waits: Waits) -> None:
    with ImdsServer(faults=Faults(values={"token": token})) as server:
        with pytest.raises(ImdsOdd):
            asker(waits, server.endpoint).fetch(ITEM)
        assert server.seen == {"PUT token": 1}


def test_a_redirect_is_not_followed(waits: Waits) -> None:
    with ImdsServer(faults=Faults(odd={ITEM: "redirect"})) as server, pytest.raises(ImdsOdd) as caught:
        asker(waits, server.endpoint).fetch(ITEM)
    assert caught.value.facts["what"] == "status 302"


@pytest.mark.parametrize("trouble", ["oversize", "endless"])
def test_a_body_without_measure_is_cut_off_at_the_cap(trouble: str, waits: Waits) -> None:
    with ImdsServer(faults=Faults(odd={ITEM: trouble})) as server, pytest.raises(ImdsOdd) as caught:
        asker(waits, server.endpoint).fetch(ITEM)
    assert caught.value.facts["what"] == f"more than {MOST_BYTES} bytes"


def test_a_body_of_exactly_the_cap_is_read(waits: Waits) -> None:
    with ImdsServer(faults=Faults(values={ITEM: b"a" * MOST_BYTES})) as server:
        assert asker(waits, server.endpoint).fetch(ITEM) == b"a" * MOST_BYTES


def test_a_packed_answer_is_never_unpacked(waits: Waits) -> None:
    with ImdsServer(faults=Faults(odd={ITEM: "gzip_bomb"})) as server, pytest.raises(ImdsOdd) as caught:
        asker(waits, server.endpoint).fetch(ITEM)
    assert caught.value.facts["what"] == "packed, though not asked to"


@pytest.mark.parametrize("trouble", ["drip", "drip_headers"])
def test_a_slow_drip_is_cut_off_by_the_exchange_as_a_whole(trouble: str, waits: Waits) -> None:
    with ImdsServer(faults=Faults(odd={ITEM: trouble})) as server, pytest.raises(ImdsUnreachable) as caught:
        asker(waits, server.endpoint, seconds=1, patience=0.4, real=True).fetch(ITEM)
    assert caught.value.facts["error"] == "no answer in time"


@pytest.mark.parametrize("trouble", ["truncated", "garbage"])
def test_an_answer_that_breaks_off_is_tried_again_and_never_used(trouble: str, waits: Waits) -> None:
    with ImdsServer(faults=Faults(odd={ITEM: trouble})) as server:

        class Mending(Waits):
            def sleep(self, seconds: float) -> None:
                super().sleep(seconds)
                server.faults.odd.clear()

        mending = Mending()
        assert asker(mending, server.endpoint).fetch(ITEM) == server.machine.instance_id.encode()
        assert len(mending.slept) == 1
        server.faults.odd[ITEM] = trouble
        with pytest.raises(ImdsUnreachable) as caught:
            asker(waits, server.endpoint, seconds=10).fetch(ITEM)
        assert caught.value.facts["error"] == "the connection broke"


# --- which address is asked


def test_the_second_address_is_asked_when_nobody_is_at_the_first(server: ImdsServer, waits: Waits) -> None:
    first = nobodys_endpoint()
    ask = asker(waits, first, server.endpoint)
    assert ask.endpoint == f"{first} or {server.endpoint}"
    assert ask.fetch(ITEM) == server.machine.instance_id.encode()
    assert ask.endpoint == server.endpoint
    assert waits.slept == []


def test_the_first_address_is_kept_once_it_answered(waits: Waits) -> None:
    with ImdsServer() as first, ImdsServer() as second:
        ask = asker(waits, first.endpoint, second.endpoint, seconds=5)
        ask.fetch(ITEM)
        first.stop()
        with pytest.raises(ImdsUnreachable) as caught:
            ask.fetch(ITEM)
        assert caught.value.facts["endpoint"] == first.endpoint
        assert second.seen == {}


def test_an_answer_from_the_first_is_final_though_it_is_a_refusal(waits: Waits) -> None:
    with ImdsServer(faults=Faults(off=True)) as first, ImdsServer() as second:
        with pytest.raises(ImdsOff):
            asker(waits, first.endpoint, second.endpoint).fetch(ITEM)
        assert second.seen == {}


def test_a_hop_limit_at_the_first_is_not_hidden_by_the_second(waits: Waits) -> None:
    with ImdsServer(faults=Faults(token_timeout=True)) as first, ImdsServer() as second:
        with pytest.raises(ImdsHopLimit):
            asker(waits, first.endpoint, second.endpoint, patience=0.2).fetch(ITEM)
        assert second.seen == {}


def test_when_nobody_is_at_either_the_first_is_named(waits: Waits) -> None:
    first, second = nobodys_endpoint(), nobodys_endpoint()
    with pytest.raises(ImdsUnreachable) as caught:
        asker(waits, first, second, seconds=5).fetch(ITEM)
    assert caught.value.facts["endpoint"] == first


def test_the_ipv6_form_of_an_address_works(waits: Waits) -> None:
    with ImdsServer(host="::1") as server:
        assert server.endpoint.startswith("http://[::1]:")
        assert asker(waits, nobodys_endpoint(), server.endpoint).fetch(ITEM) == server.machine.instance_id.encode()


# --- what the environment and the other side cannot do


@pytest.fixture
def trap() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that notes what it hears."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection:
                    first = connection.recv(4096)
                    if first == b"stop":
                        return
                    heard.append(first)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = listener.getsockname()
        yield f"http://127.0.0.1:{address[1]}", heard
        with socket.create_connection(address) as end:
            end.sendall(b"stop")
        thread.join(10)


def test_p7_proxy_variables_lead_nowhere(
    server: ImdsServer, waits: Waits, trap: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, heard = trap
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy)
        monkeypatch.setenv(name.upper(), proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert asker(waits, server.endpoint).fetch(ITEM) == server.machine.instance_id.encode()
    assert heard == []
    assert server.seen[f"GET {ITEM}"] == 1


def test_p7_a_netrc_adds_no_header(
    server: ImdsServer, waits: Waits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary\n", encoding="ascii")
    monkeypatch.setenv("NETRC", str(netrc))
    ask = asker(waits, server.endpoint)
    assert ask.fetch(ITEM)
    assert ask._client._session.trust_env is False


def test_an_https_address_is_not_even_tried(waits: Waits) -> None:
    with pytest.raises(ImdsUnreachable):
        asker(waits, "https://127.0.0.1:9", seconds=1).fetch(ITEM)


def test_the_token_is_in_no_error_and_forgotten_at_the_end(waits: Waits) -> None:
    with ImdsServer(faults=Faults(values={"token": b"CANARYTOKEN"})) as server:
        ask = asker(waits, server.endpoint)
        with pytest.raises(ImdsOdd) as caught:
            ask.fetch(ITEM)
        assert "CANARYTOKEN" not in repr(caught.value) + str(caught.value) + repr(ask)
        assert caught.value.__cause__ is None
        ask.close()
        assert ask._token == ""


def test_a_connection_that_is_never_made_is_told_so(waits: Waits, monkeypatch: pytest.MonkeyPatch) -> None:
    def request(*_: object, **__: object) -> requests.Response:
        raise requests.ConnectTimeout("CANARY")

    ask = Metadata(
        ["http://127.0.0.1:1"], deadline=Deadline(9, clock=waits.clock), rng=random.Random(1), sleep=waits.sleep
    )
    monkeypatch.setattr(ask._client._session, "send", request)
    with pytest.raises(ImdsUnreachable) as caught:
        ask.fetch(ITEM)
    assert caught.value.facts["error"] == "no connection in time"
    assert waits.slept


def test_nothing_is_received_after_the_turn_is_over(waits: Waits) -> None:
    deadline = Deadline(5, clock=waits.clock)
    left, right = socket.socketpair()
    with right, _Socket(left, Turn(deadline)) as bounded:
        right.sendall(b"ab")
        assert bounded.recv_into(bytearray(1)) == 1
        waits.sleep(5)
        with pytest.raises(TimeoutError):
            bounded.recv_into(bytearray(1))
