"""Knows the host of a packaged verifier: bare Debian, typed at as docs/operating.md says, asked from outside."""

from __future__ import annotations

import http.client
import itertools
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.rehearsal.machine import Machine, NotSeen
from lab.rehearsal.site import SETTINGS, Site

NAME, PORT = "vp1.example", 8443
PACKAGE = "hsm-enrol-verifier"
SERVICE, SOCKET = "hsm-verifier.service", "hsm-verifier.socket"
FURTHER = "hsm-verifier@2.service"
USER = "hsm-verifier"
STATE = "/var/lib/hsm-verifier"
PATIENCE = 30.0  # seconds; clients wait in the socket's queue while the service starts
AS_USER = ("env", "-C", STATE, "runuser", "-u", USER, "--")
CALLERS = 4  # at once


class VerifierHost:
    """One machine for the verifier; off, with the package's file on its disk."""

    def __init__(self, site: Site, name: str) -> None:
        """Make it from Debian alone: the agent and the Luna client are on other machines."""
        self.machine = site.bare(name)
        self._sources = itertools.cycle(f"127.1.0.{number}" for number in range(1, 250))
        self._context: ssl.SSLContext | None = None
        package = site.folder.parent / "verifier.deb"
        (self.machine.root / "verifier.deb").write_bytes(package.read_bytes())

    def types(self, line: str) -> str:
        """Run a line of docs/operating.md that begins with hsm-verifier: as its user, in its folder."""
        return self.machine.run(*AS_USER, *line.split())

    def give(self, name: str, text: str) -> None:
        """Put a file into the verifier's folder, of its user and 0600, or replace what is in one that is there."""
        there = self.machine.root / STATE.lstrip("/") / name
        if not there.exists():
            self.machine.run(*AS_USER, "sh", "-c", 'umask 077; mkdir -p "${1%/*}" && : >"$1"', "sh", f"./{name}")
        there.write_text(text)

    def read(self, name: str) -> str:
        """Give the text of a file in the verifier's folder."""
        return self.machine.read(f"{STATE}/{name}")

    def audit(self) -> list[dict[str, Any]]:
        """Give the lines of the audit."""
        return [json.loads(line) for line in self.read("audit.jsonl").splitlines()]

    def show(self, unit: str, name: str) -> str:
        """Give one property of a unit."""
        return self.machine.show(unit, name)

    def log(self) -> str:
        """Give what the journal has of the service."""
        return self.machine.run("journalctl", f"--unit={SERVICE}", "--no-pager", "--output=cat")

    def settings(self, audience: str) -> dict[str, str]:
        """Give what an instance needs to ask this verifier: paths and texts, all public."""
        return {
            "/etc/hsm-enrol/hsm-enrol.toml": SETTINGS.format(
                verifier=f"{NAME}:{PORT}", audience=audience, deadline="60s"
            ),
            "/etc/hsm-enrol/verifier-ca.pem": self.read("verifier-ca.pem"),
            "/etc/hsm-enrol/answer-key.pem": self.read("answer-key.pem"),
            "/etc/hosts": f"127.0.0.1 localhost {NAME}\n",
        }

    # --- asked from outside

    def ask(self) -> None:
        """Fetch a challenge on a connection and from a source of its own. Raises OSError, NotSeen."""
        if self._context is None:
            self._context = ssl.create_default_context(cadata=self.read("verifier-ca.pem"))
        source = (next(self._sources), 0)
        asking = http.client.HTTPSConnection(
            "127.0.0.1", PORT, timeout=PATIENCE, context=self._context, source_address=source
        )
        try:
            asking.request("GET", "/v1/challenge")
            reply = asking.getresponse()
            if reply.status != 200 or b"nonce" not in reply.read():
                raise NotSeen(f"a challenge, but the verifier answered {reply.status}")
        finally:
            asking.close()

    def listens(self) -> bool:
        """Tell whether anybody takes connections on the port."""
        asking = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE)
        try:
            asking.connect()
        except ConnectionRefusedError:
            return False
        finally:
            asking.close()
        return True

    @contextmanager
    def asked_all_the_time(self) -> Iterator[Tally]:
        """Ask from several threads, one request after the other, for as long as the block runs."""
        tally, stop = Tally(), threading.Event()

        def asks() -> None:
            while not stop.is_set():
                try:
                    self.ask()
                except (OSError, http.client.HTTPException, NotSeen) as fault:
                    tally.lost.append(f"{type(fault).__name__}: {fault}")
                tally.asked += 1

        threads = [threading.Thread(target=asks) for _ in range(CALLERS)]
        for one in threads:
            one.start()
        try:
            yield tally
        finally:
            stop.set()
            for one in threads:
                one.join()


@dataclass
class Tally:
    """What became of requests; to be read once all are done."""

    asked: int = 0
    lost: list[str] = field(default_factory=list)


def modes_below(machine: Machine, folder: str) -> dict[str, tuple[str, int, int]]:
    """Give mode, owner and group of everything in a folder of the machine, itself included, by path inside it."""
    top = machine.root / folder.lstrip("/")
    found: dict[str, tuple[str, int, int]] = {}
    for path in [top, *sorted(top.rglob("*"))]:
        there = path.lstat()
        found[str(Path(path.relative_to(top)))] = (oct(there.st_mode & 0o7777), there.st_uid, there.st_gid)
    return found
