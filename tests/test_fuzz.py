"""Ten thousand requests that nobody should send, over TLS, against a running verifying party.

HSM_ENROL_FUZZ=100000 asks for more, HSM_ENROL_FUZZ_SEED=N for others.
"""

import contextlib
import os
import socket
import ssl
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hsm_verifier.chain import verify
from tests.adversary.fuzz import Fuzzer, Shot
from tests.adversary.site import NO_LIMIT, Site

COUNT = int(os.environ.get("HSM_ENROL_FUZZ", "10000"))
SEED = int(os.environ.get("HSM_ENROL_FUZZ_SEED", "1"))
LINES = 4  # connections at a time
WARM = 1000  # requests after which threads, pools and caches have what they need
GROWTH = 8  # MiB that the process may gain after that, whatever the number of requests
PATIENCE = 20.0


@pytest.fixture
def site() -> Iterator[Site]:
    """Its folder is in memory: each refusal is an fsynced audit line, and this is about the server, not the disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        # Few workers: 64 threads would still be coming up, each with its own memory, long after the first requests.
        made = Site(Path(folder), server=NO_LIMIT | {"workers": "4"})
        made.publish_all()
        made.start()
        yield made
        made.stop()


@dataclass
class Line:
    """One client: keeps its connection as long as the server does, counts what it hears."""

    site: Site
    fuzzer: Fuzzer
    context: ssl.SSLContext
    heard: Counter[int] = field(default_factory=Counter)
    sock: ssl.SSLSocket | None = None

    def run(self, count: int) -> None:
        for _ in range(count):
            self.fire(self.fuzzer.shot())
        self.hang_up()

    def fire(self, shot: Shot) -> None:
        if not shot.whole:
            self.scatter(shot)
            return
        for _ in range(2):  # a connection that was idle may have been closed meanwhile: once more on a new one
            fresh = self.sock is None
            try:
                sock = self.sock or self.connect()
                self.sock = sock
                with contextlib.suppress(ConnectionError, ssl.SSLError):
                    sock.sendall(shot.data)  # the server may have answered and closed before it was all sent
                status, stays = read_reply(sock)
            except (ConnectionError, ssl.SSLError):
                self.hang_up()
                if fresh:
                    self.heard[0] += 1
                    return
                continue
            self.heard[status] += 1
            if not stays:
                self.hang_up()
            return

    def scatter(self, shot: Shot) -> None:
        """Write what is no request; a reply may come, or the end of the connection, or nothing."""
        self.hang_up()
        with contextlib.suppress(OSError), self.connect(tls=shot.tls) as sock:
            sock.sendall(shot.data)
            sock.settimeout(0.02)
            status, _ = read_reply(sock)
            self.heard[status] += 1
            return
        self.heard[0] += 1

    def connect(self, *, tls: bool = True) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", int(self.site.url.rpartition(":")[2])), timeout=PATIENCE)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not tls:
            return raw  # type: ignore[return-value]  # a socket all the same
        return self.context.wrap_socket(raw, server_hostname="127.0.0.1")

    def hang_up(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None


def read_reply(sock: socket.socket) -> tuple[int, bool]:
    """Read one reply: its status, and whether the connection stays. ConnectionError when it ends before."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    status = int(lines[0].split()[1])
    if status == 100:
        return read_reply(sock)
    length = next((int(one.partition(":")[2]) for one in lines if one.startswith("content-length:")), 0)
    while len(body) < length:
        body += receive(sock)
    return status, "connection: close" not in lines


def receive(sock: socket.socket) -> bytes:
    piece = sock.recv(65536)
    if not piece:
        raise ConnectionResetError
    return piece


def memory(pid: int) -> float:
    """MiB that a process holds in memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def volley(site: Site, count: int, seed: int) -> Counter[int]:
    """Fire on several connections at once."""
    subject = site.launch()
    good = subject.sign(subject.request())
    context = ssl.create_default_context(cafile=str(site.folder / "verifier-ca.pem"))
    lines = [Line(site, Fuzzer(seed + number, subject, good), context) for number in range(LINES)]
    threads = [threading.Thread(target=line.run, args=(count // LINES,)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum((line.heard for line in lines), Counter())


@pytest.mark.timeout(120 + COUNT / 50)
def test_nonsense_is_refused_without_a_traceback_or_a_byte_more_of_memory(site: Site) -> None:
    assert site.process is not None
    pid = site.process.pid
    site.launch().served()  # the first good request makes the clients for AWS: 30 MiB, once
    heard = volley(site, WARM, SEED)
    before = memory(pid)
    heard += volley(site, COUNT - WARM, SEED + 1000)
    after = memory(pid)
    print(f"\nfuzz: {heard.total()} requests (seed {SEED}), replies {dict(sorted(heard.items()))}")
    print(f"fuzz: memory {before:.1f} MiB after {WARM} requests, {after:.1f} MiB at the end")
    assert heard.total() == COUNT
    assert all(status < 500 or status == 503 for status in heard)
    assert heard[503] == 0, "nothing here is a reason to be busy"
    assert heard[200] < COUNT / 20  # challenges among other methods and paths
    assert heard[400] > COUNT / 2
    assert "Traceback" not in site.log.read_text()
    assert after - before < GROWTH
    site.launch().served()
    assert verify(site.folder / "audit.jsonl").n > COUNT / 3
