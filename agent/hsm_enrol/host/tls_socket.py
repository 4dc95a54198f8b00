"""Knows what ssl.SSLSocket forgets: to close a connection that the peer resets before the handshake."""

from __future__ import annotations

import errno
import ssl
from typing import Any


class TlsSocket(ssl.SSLSocket):
    """A TLS socket that is closed when it cannot come to be."""

    def recv(self, *args: Any) -> bytes:
        """Close what was reset: a new SSLSocket without a peer looks for stray bytes with this, and leaves it open."""
        try:
            return super().recv(*args)
        except OSError as error:
            if error.errno not in {errno.ENOTCONN, errno.EINVAL}:
                self.close()
            raise
