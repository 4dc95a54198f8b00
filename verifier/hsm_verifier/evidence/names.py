"""Knows how to look a host name up without waiting longer than the asker can, and how to dial what was found.

The C library looks names up for as long as resolv.conf says (5 s a server, twice over), whatever its caller's patience.
So names are looked up in a thread that may be left behind, one a name however many wait for it; an address needs none.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from contextlib import suppress
from typing import Any

Place = tuple[str, int]
Found = list[tuple[Any, ...]]
"""What socket.getaddrinfo gives."""


class Names:
    """Look-ups that are under way."""

    def __init__(self) -> None:
        """Know none."""
        self._lock = threading.Lock()
        self._asked: dict[Place, list[asyncio.Future[Found]]] = {}

    async def dial(self, place: Place, seconds: float) -> socket.socket:
        """Give a connection to the first of the name's addresses that takes it. Raises OSError.

        Each address has its share of `seconds`, so that one that nobody answers at leaves time for the next. How long
        the name may take is the caller's to say (asyncio.timeout).
        """
        loop = asyncio.get_running_loop()
        last: OSError = ConnectionError("the name has no address")
        found = await self._addresses(place)
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)  # noqa: FBT003  as the library has it
                async with asyncio.timeout(seconds / len(found)):
                    await loop.sock_connect(sock, address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                sock.close()
                last = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise last

    async def _addresses(self, place: Place) -> Found:
        if _is_literal(place[0]):
            return _look_up(place)
        answer: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        with self._lock:
            if place not in self._asked:
                threading.Thread(target=self._ask, args=(place,), name="look-up", daemon=True).start()
                self._asked[place] = []
            self._asked[place].append(answer)
        return await answer

    def _ask(self, place: Place) -> None:
        found: Found | OSError
        try:
            found = _look_up(place)
        except OSError as error:
            found = error
        with self._lock:
            waiting = self._asked.pop(place)
        for answer in waiting:
            with suppress(RuntimeError):  # its loop has ended meanwhile
                answer.get_loop().call_soon_threadsafe(_tell, answer, found)


def _tell(answer: asyncio.Future[Found], found: Found | OSError) -> None:
    if answer.done():  # nobody waits any more
        return
    if isinstance(found, OSError):
        answer.set_exception(found)
    else:
        answer.set_result(found)


def _look_up(place: Place) -> Found:
    try:
        return list(socket.getaddrinfo(*place, type=socket.SOCK_STREAM))
    except ValueError:  # a label that is empty or too long: the library does not get as far as looking it up
        raise OSError("no name of a host") from None


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
