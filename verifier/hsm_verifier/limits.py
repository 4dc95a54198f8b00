"""Knows how much one source may cost us before any cryptography is done for it (V1).

A source is an IPv4 address or an IPv6 /64. Networks listed as wide (a NAT gateway, a balancer) hold a fleet and get
everything multiplied.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable

from hsm_verifier.settings import ServerSettings

REMEMBERED = 20_000  # sources; the one idle for longest is forgotten first, which only forgives it
HOST_BITS = 64
ARRIVALS = 2  # connections that a source may open for each request that it may make: a handshake is what costs us most

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Buckets:
    """Token buckets by name. `rate` tokens a second, at most `burst`; safe for threads."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        """`clock` is monotonic seconds."""
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_for(self, name: str, factor: float = 1.0) -> float:
        """Take one token: gives 0, or the seconds until there will be one (nothing was taken)."""
        now = self._clock()
        rate, burst = self._rate * factor, self._burst * factor
        with self._lock:
            level, then = self._levels.pop(name, (burst, now))
            level = min(burst, level + (now - then) * rate)
            wait = 0.0 if level >= 1 else (1 - level) / rate
            self._levels[name] = (level - 1 if not wait else level, now)
            if len(self._levels) > REMEMBERED:
                self._levels.popitem(last=False)
        return wait


class Sources:
    """V1 for connections and requests: concurrency caps and a token bucket a source."""

    def __init__(self, settings: ServerSettings, clock: Callable[[], float]) -> None:
        """Read caps from `[server]`."""
        self._total = settings.connections
        self._each = settings.connections_per_source
        self._wide = networks(settings.wide_sources)
        self._factor = settings.wide_factor
        rate, burst = settings.requests_per_source, settings.burst_per_source
        self._buckets = Buckets(rate, burst, clock)
        self._arrivals = Buckets(rate * ARRIVALS, burst * ARRIVALS, clock)
        self._turned_away = Buckets(rate, burst, clock)
        self._open: Counter[str] = Counter()
        self._count = 0

    def connect(self, host: str) -> bool:
        """Count a new connection; False when it must be closed at once. Called on the event loop only."""
        if self._count >= self._total or not self.let_in(host):
            return False
        self._count += 1
        return True

    def let_in(self, host: str) -> bool:
        """Count it for whom a balancer carries it, too; False when that source has its share of them."""
        name = source_name(host)
        factor = self._factor_of(host)
        if self._open[name] >= self._each * factor or self._arrivals.wait_for(name, factor):
            return False
        self._open[name] += 1
        return True

    def disconnect(self, *hosts: str) -> None:
        """Forget a connection that `connect` let in, and `let_in` perhaps."""
        self._count -= 1
        for name in map(source_name, hosts):
            self._open[name] -= 1
            if self._open[name] <= 0:
                del self._open[name]

    def wait_for(self, host: str) -> float:
        """Count a request: gives 0, or the seconds after which another try is welcome."""
        return self._buckets.wait_for(source_name(host), self._factor_of(host))

    def may_stay(self, host: str) -> bool:
        """Count a request that was turned away: False when its connection must end, so that new ones' cap binds it."""
        return not self._turned_away.wait_for(source_name(host), self._factor_of(host))

    def _factor_of(self, host: str) -> float:
        return self._factor if within(host, self._wide) else 1


def networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Parse networks that the settings have checked."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def within(host: str, nets: tuple[Network, ...]) -> bool:
    """Tell whether an address lies in one of some networks."""
    address = parse_address(host)
    return address is not None and any(address.version == net.version and address in net for net in nets)


def parse_address(host: str) -> Address | None:
    """Parse an address, without its zone; an IPv4 one inside IPv6 counts as IPv4. None when it is none."""
    try:
        address = ipaddress.ip_address(host.split("%", maxsplit=1)[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def source_name(host: str) -> str:
    """Give the name under which an address is counted."""
    address = parse_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, HOST_BITS), strict=False))
    return str(address)


def client_of(peer: str, forwarded: tuple[str, ...], hops: tuple[Network, ...]) -> str:
    """V11: who asks: the peer, or what a listed hop wrote at the right end of X-Forwarded-For; never further left."""
    host = peer
    chain = [item.strip() for line in forwarded for item in line.split(",")]
    while chain and within(host, hops):
        told = parse_address(chain.pop())
        if told is None:
            break
        host = str(told)  # the address and nothing that was written behind it
    return host
