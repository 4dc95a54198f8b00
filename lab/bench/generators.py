"""Knows how a fleet asks: divided among processes that generate the load, each with its orders in a file."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hsm_enrol.wire.keys import public_to_pem
from hsm_enrol.wire.seal import KEMS
from lab.bench.asker import Facts
from lab.bench.site import ROOT, Verifier, child_environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a fleet asks. `connections` is `fresh` (one an enrolment), `each` (one a request) or `kept`."""

    clients: int
    connections: str = "fresh"
    kem: str = KEMS[0]
    processes: int = 2


class Generator:
    """A load generator's process."""

    def __init__(self, orders: Path, stack: ExitStack) -> None:
        """Start it; it ends with `stack`."""
        command = [sys.executable, "-m", "lab.bench.load", str(orders)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, env=child_environment(), stdin=pipe, stdout=pipe, text=True)
        stack.callback(self._end)

    def wait_ready(self) -> None:
        """Wait until it has made its keys."""
        if _open(self._process.stdout).readline() != "ready\n":
            raise RuntimeError("a load generator did not start")

    def go(self) -> None:
        """Let it begin."""
        stdin = _open(self._process.stdin)
        stdin.write("go\n")
        stdin.flush()

    @property
    def at_work(self) -> bool:
        """Whether its figures are still to come."""
        return not select.select([_open(self._process.stdout)], [], [], 0)[0]

    def result(self) -> dict[str, Any]:
        """Wait for its figures."""
        found: dict[str, Any] = json.loads(_open(self._process.stdout).readline())
        return found

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()


def _open(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise TypeError("the process has no such pipe")
    return pipe


def orders_of(folder: Path, site: Verifier, fleet: list[Facts], plan: Plan) -> list[Path]:
    """Divide clients and fleet among the processes."""
    processes = min(plan.processes, plan.clients)
    party, places = site.party, []
    for number in range(processes):
        orders = {
            "host": site.address[0],
            "port": site.address[1],
            "audience": party.audience,
            "answer_key": public_to_pem(party.answer_key).decode(),
            "ca_file": str(site.folder / "verifier-ca.pem"),
            "connections": plan.connections,
            "kem": plan.kem,
            "clients": plan.clients // processes + (number < plan.clients % processes),
            "fleet": [one.to_json() for one in fleet[number::processes]],
        }
        place = folder / f"orders-{number}.json"
        place.touch(0o600)
        place.write_text(json.dumps(orders))
        places.append(place)
    return places
