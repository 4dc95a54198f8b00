"""Knows how to open a TCP connection by one deadline: looking the name up is part of it, and so is every address.

The C library looks names up for as long as resolv.conf says (5 s a server, twice over), whatever its caller's patience.
So names are looked up in a thread apart, one a name however many wait for it; an address needs none.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

Found = list[tuple[Any, ...]]
"""What socket.getaddrinfo gives."""


@dataclass(slots=True)
class Dialler:
    """Opens connections. Safe for threads."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _asked: dict[tuple[str, int], Future[Found]] = field(default_factory=dict)

    def dial(self, address: tuple[str, int], left: Callable[[], float]) -> socket.socket:
        """Give a connection to the first of the name's addresses that takes it.

        `left` gives the seconds that are left, and raises TimeoutError when there are none. Raises OSError.
        """
        last: OSError = ConnectionError("the name has no address")
        for family, kind, protocol, _, place in self._addresses(address, left):
            plain = socket.socket(family, kind, protocol)
            try:
                plain.settimeout(left())
                plain.connect(place)
            except OSError as error:
                plain.close()
                last = error
            except BaseException:
                plain.close()
                raise
            else:
                return plain
        raise last

    def _addresses(self, address: tuple[str, int], left: Callable[[], float]) -> Found:
        if _is_literal(address[0]):
            return _look_up(address)
        with self._lock:
            answer = self._asked.get(address)
            if answer is None:
                answer = Future()
                threading.Thread(target=self._ask, args=(address, answer), name="look-up", daemon=True).start()
                self._asked[address] = answer
        return answer.result(left())

    def _ask(self, address: tuple[str, int], answer: Future[Found]) -> None:
        try:
            answer.set_result(_look_up(address))
        except BaseException as error:  # noqa: BLE001  raised by whoever waits
            answer.set_exception(error)
        finally:
            with self._lock:
                del self._asked[address]


def _look_up(address: tuple[str, int]) -> Found:
    return list(socket.getaddrinfo(*address, type=socket.SOCK_STREAM))


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
