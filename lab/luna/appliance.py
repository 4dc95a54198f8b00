"""Knows how to play one Luna appliance on loopback: mutual TLS with pinned certificates, partitions, PIN tries.

Documented or seen of the real one: TLS 1.2 and later, the client's very certificate is registered under a name, source
addresses are compared when ipcheck is on, wrong PINs count until the partition is locked. Made up: what is said inside
TLS (one JSON object per line), for the real protocol is closed.
"""

from __future__ import annotations

import collections
import contextlib
import json
import socket
import ssl
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lab.luna.certificates import LunaPair, appliance_pair, cached_key
from lab.luna.partition import Partition, answer

if TYPE_CHECKING:
    from collections.abc import Iterable

PATIENCE = 10.0  # seconds for one word of a client
LONGEST_LINE = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A client as `client register` knows it: a name, its certificate, and the address it was registered with."""

    name: str
    certificate: bytes  # DER
    pem: str
    address: str | None


class Appliance:
    """One appliance, in threads of this process, until `stop` or the end of the with block.

    Switches, good at once: `down` (connections are refused, the port stays ours), `hangs` (connections are taken and
    nothing is said), `ipcheck` (clients that come from another address than they were registered with see no
    partition). `rekey` changes the certificate, `forget` a client; a partition's fields may be changed too. `seen`
    counts connections, handshakes, and refused (handshakes that failed).
    """

    def __init__(self, number: str, partitions: Iterable[Partition], *, host: str = "127.0.0.1") -> None:
        """Take a free port; `number` becomes the certificate's CN."""
        self.number = number
        self.host = host
        self.partitions = {one.serial: one for one in partitions}
        self.clients: dict[str, Registered] = {}
        self.hangs = False
        self.ipcheck = False
        self.seen: collections.Counter[str] = collections.Counter()
        self.pair = appliance_pair(number, cached_key(f"appliance {number}"))
        self._generation = 0
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="lab-luna-")
        self._write_pair()
        # Holds the port while the listener is closed (`down`): bound, never listening, so it takes no connection.
        self._placeholder = _socket()
        self._placeholder.bind((host, 0))
        self.port: int = self._placeholder.getsockname()[1]
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._held: set[socket.socket] = set()

    @property
    def certificate(self) -> str:
        """Give the appliance's certificate as PEM."""
        return self.pair.certificate

    @property
    def down(self) -> bool:
        """Tell whether connections are refused."""
        return self._listener is None

    @down.setter
    def down(self, value: bool) -> None:
        if value != self.down:
            self._close() if value else self._listen()

    def register(self, name: str, certificate: str, *, address: str | None = None) -> None:
        """Let a client in by its very certificate; `address` is what ipcheck compares, None never matches."""
        der = ssl.PEM_cert_to_DER_cert(certificate)
        self.clients[name] = Registered(name=name, certificate=der, pem=certificate, address=address)

    def forget(self, name: str) -> None:
        """Let a client in no more."""
        del self.clients[name]

    def rekey(self, pair: LunaPair | None = None) -> None:
        """Take another key and certificate, by default with the same subject, as `sysconf regenCert` does."""
        self._generation += 1
        key = cached_key(f"appliance {self.number} again {self._generation}")
        self.pair = pair or appliance_pair(self.number, key)
        self._write_pair()

    def start(self) -> Self:
        """Serve from now on."""
        self.down = False
        return self

    def stop(self) -> None:
        """End, held connections included; safe to call twice."""
        self.down = True
        while self._threads:
            with self._lock:
                thread = self._threads.pop()
            thread.join()
        self._placeholder.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _write_pair(self) -> None:
        file = Path(self._folder.name, "pair.pem")
        file.touch(mode=0o600)
        file.write_text(self.pair.certificate + self.pair.key, encoding="ascii")

    def _listen(self) -> None:
        listener = _socket()
        listener.bind((self.host, self.port))
        listener.listen(64)
        self._listener = listener
        self._run(self._accept, listener)

    def _close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
        with self._lock:
            for held in self._held:
                with contextlib.suppress(OSError):
                    held.shutdown(socket.SHUT_RDWR)

    def _run(self, act: Any, *arguments: object) -> None:
        thread = threading.Thread(target=act, args=arguments, name=f"lab-luna-{self.number}", daemon=True)
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()]
            thread.start()
            self._threads.append(thread)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed: down, or stopping
                return
            self.seen["connections"] += 1
            self._run(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            with self._lock:
                if self.down:  # closed between accept and here
                    return
                self._held.add(connection)
            try:
                connection.settimeout(PATIENCE)
                if self.hangs:
                    self._say_nothing(connection)
                else:
                    self._talk(connection)
            except (OSError, ValueError):  # the client went, was refused, or spoke another language
                pass
            finally:
                with self._lock:
                    self._held.discard(connection)

    def _say_nothing(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        while connection.recv(4096):
            pass

    def _talk(self, connection: socket.socket) -> None:
        known = list(self.clients.values())
        try:
            secure = self._context(known).wrap_socket(connection, server_side=True)
        except OSError:
            self.seen["refused"] += 1
            raise
        with secure:
            der = secure.getpeercert(binary_form=True)
            client = next((one for one in known if one.certificate == der), None)
            if client is None:
                self.seen["refused"] += 1
                return
            self.seen["handshakes"] += 1
            barred = self.ipcheck and secure.getpeername()[0] != client.address
            with secure.makefile("rwb") as lines:
                while line := lines.readline(LONGEST_LINE):
                    with self._lock:
                        said = answer({} if barred else self.partitions, json.loads(line))
                    lines.write(json.dumps(said).encode() + b"\n")
                    lines.flush()

    def _context(self, known: list[Registered]) -> ssl.SSLContext:
        """Make the context anew: certificates and clients change while we run.

        The partial-chain flag makes OpenSSL look for the very certificate. Without it two registered clients with one
        subject, as in a renewal, would have only the first of them accepted.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(f"{self._folder.name}/pair.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if known:
            context.load_verify_locations(cadata="".join(one.pem for one in known))
        return context


def _socket() -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return made
