"""The suite cannot forget where it may send packets."""

import socket
import subprocess
import sys

import pytest


@pytest.mark.parametrize("address", [("169.254.169.254", 80), ("10.0.0.1", 443), ("192.0.2.1", 1)])
def test_the_suite_cannot_leave_loopback(address: tuple[str, int], left_loopback: type[BaseException]) -> None:
    with socket.socket() as sock, pytest.raises(left_loopback):
        sock.connect(address)


def test_a_child_process_cannot_leave_loopback() -> None:
    code = "import socket; socket.create_connection(('169.254.169.254', 80), timeout=5)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "LeftLoopback" in done.stderr


@pytest.mark.parametrize("host", ["hsm1.lab", b"hsm1.lab"])
def test_no_resolver_is_asked(host: str | bytes) -> None:
    with pytest.raises(socket.gaierror, match="knows no names"):
        socket.getaddrinfo(host, 1792)


def test_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
