"""A port that nobody listens at and that stays so: nobody else is given it while this process lives."""

import socket

_HELD: list[socket.socket] = []


def closed_port(host: str = "127.0.0.1") -> int:
    """Give a port that refuses connections: bound, so that it is not free for whoever wants any, and not listening."""
    held = socket.socket()
    held.bind((host, 0))
    _HELD.append(held)
    port: int = held.getsockname()[1]
    return port
