"""V1 and V11 as arithmetic: who counts as one source, how much each may, and whom a listed hop may speak for."""

from dataclasses import dataclass

import pytest

from hsm_verifier import limits
from hsm_verifier.limits import Buckets, Sources, client_of, networks, source_name
from hsm_verifier.settings import ServerSettings

ONE, OTHER, WIDE = "192.0.2.7", "192.0.2.8", "198.51.100.9"


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def sources(clock: Clock, **server: float) -> Sources:
    given = {"connections": 100, "requests_per_source": 1.0, "burst_per_source": 50, "wide_factor": 3, **server}
    settings = ServerSettings(tls_certificate="", tls_key="", wide_sources=("198.51.100.0/24",), **given)  # type: ignore[arg-type]  # by name
    return Sources(settings, clock)


def let_in(counted: Sources, host: str, tries: int = 20) -> int:
    return sum(counted.connect(host) for _ in range(tries))


def test_v1_a_bucket_gives_its_burst_and_then_its_rate(clock: Clock) -> None:
    buckets = Buckets(0.5, 2, clock)
    assert [buckets.wait_for("a") for _ in range(4)] == [0.0, 0.0, 2.0, 2.0]
    assert buckets.wait_for("b") == 0.0
    clock.now += 1
    assert buckets.wait_for("a") == 1.0
    clock.now += 0.5
    assert buckets.wait_for("a") == 0.5
    clock.now += 0.5
    assert [buckets.wait_for("a") for _ in range(2)] == [0.0, 2.0]
    clock.now += 3600
    assert [buckets.wait_for("a") for _ in range(3)] == [0.0, 0.0, 2.0]


def test_v1_a_wide_source_has_everything_multiplied(clock: Clock) -> None:
    buckets = Buckets(0.5, 2, clock)
    assert [buckets.wait_for("a", 2.0) for _ in range(5)] == [0.0] * 4 + [1.0]
    counted = sources(clock, connections_per_source=4)
    assert (let_in(counted, ONE), let_in(counted, WIDE)) == (4, 12)
    requests = sources(clock, burst_per_source=4)
    assert [sum(not requests.wait_for(host) for _ in range(20)) for host in (ONE, WIDE)] == [4, 12]


def test_v1_who_was_remembered_for_longest_without_asking_is_forgotten_first(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REMEMBERED", 2)
    buckets = Buckets(0.5, 1, clock)
    assert [buckets.wait_for(name) for name in ("a", "b", "a", "c", "a", "b")] == [0.0, 0.0, 2.0, 0.0, 2.0, 0.0]
    assert len(buckets._levels) == 2


def test_v1_connections_are_counted_for_each_source_and_for_all_until_they_end(clock: Clock) -> None:
    counted = sources(clock, connections=6, connections_per_source=4)
    assert (let_in(counted, ONE), let_in(counted, OTHER), let_in(counted, "2001:db8::1")) == (4, 2, 0)
    for host in (ONE, OTHER, OTHER, ONE):
        counted.disconnect(host)
    assert (let_in(counted, ONE), let_in(counted, OTHER)) == (2, 2)
    for host in (ONE, OTHER) * 2 + (ONE, ONE):
        counted.disconnect(host)
    assert not counted._open, "a source that is gone takes no memory"
    assert let_in(counted, ONE) == 4


def test_v1_two_connections_come_with_each_request_that_a_source_may_make(clock: Clock) -> None:
    counted = sources(clock, burst_per_source=3, connections_per_source=20)
    assert let_in(counted, ONE) == 6
    for _ in range(6):
        counted.disconnect(ONE)
    assert let_in(counted, ONE) == 0
    clock.now += 1
    assert let_in(counted, ONE) == 2
    assert let_in(sources(clock, burst_per_source=3), WIDE) == 18


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff::", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::1", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_v1_a_source_is_an_address_or_a_64(host: str, name: str) -> None:
    assert source_name(host) == name


HOPS = networks(("10.0.0.0/8", "2001:db8::/32"))
FORWARDED = [
    ("10.0.0.1", ("203.0.113.5",), "203.0.113.5"),
    ("10.0.0.1", ("198.51.100.9, 203.0.113.5",), "203.0.113.5"),  # what stands further left, the asker may have written
    ("10.0.0.1", ("198.51.100.9", "203.0.113.5"), "203.0.113.5"),
    ("10.0.0.1", ("203.0.113.5, 10.0.0.2",), "203.0.113.5"),
    ("10.0.0.1", ("203.0.113.5, ::ffff:10.0.0.2",), "203.0.113.5"),
    ("2001:db8::1", ("203.0.113.5",), "203.0.113.5"),
    ("10.0.0.1", ("10.0.0.2",), "10.0.0.2"),
    ("10.0.0.1", (), "10.0.0.1"),
    ("10.0.0.1", ("203.0.113.5, unknown",), "10.0.0.1"),
    ("10.0.0.1", ("203.0.113.5,",), "10.0.0.1"),
    ("192.0.2.7", ("203.0.113.5",), "192.0.2.7"),
]


@pytest.mark.parametrize(("peer", "forwarded", "client"), FORWARDED)
def test_v11_only_a_listed_hop_is_believed_and_only_at_the_right_end(
    peer: str, forwarded: tuple[str, ...], client: str
) -> None:
    assert client_of(peer, forwarded, HOPS) == client
