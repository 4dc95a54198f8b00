"""A connection that ends before the handshake leaves nothing open."""

import socket
import ssl
import struct

import pytest

from hsm_enrol.host.bounded import Turn, bounded_context
from hsm_enrol.host.retry import Deadline


def test_what_the_peer_reset_before_the_handshake_is_closed() -> None:
    context = bounded_context(Turn(Deadline(10)), ssl.create_default_context())
    kept: list[ssl.SSLSocket] = []

    class Seen(context.sslsocket_class):  # type: ignore[name-defined, misc]  # the class that is in use, watched
        def getpeername(self) -> object:
            kept.append(self)
            return super().getpeername()

    context.sslsocket_class = Seen
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()  # RST
        with pytest.raises(ConnectionResetError):
            context.wrap_socket(ours, server_hostname="verifier.example")
    (one,) = kept
    assert one.fileno() == -1
