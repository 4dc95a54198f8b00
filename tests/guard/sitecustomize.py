"""Keeps every Python process of the test suite on loopback: put on PYTHONPATH of children, imported by conftest itself.

169.254.169.254, fd00:ec2::254 and private addresses exist for this project only inside a network namespace that a test
made itself; such a test sets HSM_ENROL_OWN_NAMESPACE=1 for the processes inside.
"""

import ipaddress
import os
import sys


class LeftLoopback(BaseException):
    """A test tried to reach an address that is not this machine's own. Not an Exception: no handler may swallow it."""


def allowed(address: object) -> bool:
    """Tell whether a socket address is loopback (or no internet address at all)."""
    if not isinstance(address, tuple) or not address:
        return True  # AF_UNIX, AF_NETLINK
    host = str(address[0]).split("%")[0]
    if host in {"", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name would have to be asked from a resolver first


def is_name(host: object) -> bool:
    """Tell whether a resolver would have to be asked for a host."""
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if not isinstance(text, str) or text in {"", "localhost"}:
        return False
    try:
        ipaddress.ip_address(text.split("%")[0])
    except ValueError:
        return True
    return False


def watch(event: str, args: tuple[object, ...]) -> None:
    """Refuse connect and sendto beyond loopback; no name is known, so no resolver is asked."""
    if event == "socket.getaddrinfo" and is_name(args[0]):
        import socket  # whoever raised the event has loaded it

        raise socket.gaierror(socket.EAI_NONAME, "the test suite knows no names")
    if event in {"socket.connect", "socket.sendto"} and not allowed(args[1]):
        raise LeftLoopback(f"{event} to {args[1]!r}")


if os.environ.get("HSM_ENROL_OWN_NAMESPACE") != "1":
    sys.addaudithook(watch)
