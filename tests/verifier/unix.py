"""HTTP over a Unix socket, as `curl --unix-socket` speaks it."""

import http.client
import socket
from pathlib import Path


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self.path))


def fetch(path: Path, address: str) -> tuple[int, str]:
    """Give status and body."""
    connection = UnixConnection(path)
    try:
        connection.request("GET", address)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()
