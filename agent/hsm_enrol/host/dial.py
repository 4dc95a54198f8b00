"""Knows how to open a TCP connection within a time that counts all of it: looking the name up, and every address.

The C library looks names up for as long as resolv.conf says (5 s a server, twice over), whatever its caller's patience,
and no signal ends that. So a name is looked up in a thread, which is left alone when time is over, and nobody waits for
it any more: `host/child.py` starts tools beside it. An address needs none.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from hsm_enrol.host.early import Early

_NAME = "look-up"

Option = tuple[int, int, int | bytes]
"""What setsockopt takes."""


def dial(host: str, port: int, seconds: float, options: Iterable[Option] = ()) -> socket.socket:
    """Give a connection to the first address that takes it, with what is left of `seconds` as its time-out.

    Raises TimeoutError when they are over, socket.gaierror, OSError.
    """
    ends = time.monotonic() + seconds
    failed: OSError = ConnectionError("the name has no address")
    for family, kind, protocol, _, address in look_up(host.strip("[]"), port, seconds):
        plain = socket.socket(family, kind, protocol)
        try:
            for option in options:
                plain.setsockopt(*option)
            plain.settimeout(_left(ends))
            plain.connect(address)
        except OSError as error:
            plain.close()
            failed = error
        except BaseException:
            plain.close()
            raise
        else:
            return plain
    raise failed


def look_up(host: str, port: int, seconds: float) -> list[tuple[Any, ...]]:
    """Give what socket.getaddrinfo gives. Raises TimeoutError, and what it raises."""
    if _is_literal(host):
        return _ask(host, port)
    return Early(lambda: _ask(host, port), name=_NAME).take(seconds)


def _ask(host: str, port: int) -> list[tuple[Any, ...]]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _is_literal(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            socket.inet_pton(family, host)
            return True
    return False


def _left(ends: float) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
