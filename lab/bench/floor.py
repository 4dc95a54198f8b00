"""Knows what an enrolment costs a server that decides nothing: the floor below the verifier's figures on this machine.

`python -m lab.bench.floor` serves challenge, assertion and receipt of usual sizes by plain uvicorn (uvloop, httptools),
one TLS connection an enrolment, with nothing of the verifier's own: no parse, no limit, no policy, no AWS. Then the
same with an enrolment's cryptography, then with two durable transactions and two durable audit lines as well, one
after the other, then with what is wanted at the same time written together, as the verifier does. Nobody opens an
answer, so the askers here are as cheap as can be.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import pki
from lab.bench.cpu import used_by
from lab.bench.floor_ends import LEVELS
from lab.bench.site import ROOT, child_environment
from lab.bench.throughput import percentile

WARM = 16  # enrolments before the clock starts
HEADING = f"{'who decides nothing':20} {'/s':>5} {'p50 ms':>7} {'p99 ms':>7} {'CPU ms: server':>15} {'asker':>6}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """One level. CPU in milliseconds an enrolment, latencies in milliseconds."""

    level: str
    clients: int
    per_second: float
    p50: float
    p99: float
    server_cpu: float
    asker_cpu: float


def measure(level: str, count: int, clients: int) -> Floor:
    """Run a server of this level and two processes of askers."""
    with tempfile.TemporaryDirectory(prefix="hsm-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        issuer = pki.authority("floor")
        pair = pki.server(issuer, ["127.0.0.1"])
        (folder / "ca.pem").write_text(issuer.certificate_pem)
        (folder / "server.pem").write_text(pair.certificate_pem)
        (folder / "server.key").write_text(pair.key_pem)
        server = _child(stack, "serve", level, name)
        port = _line(server).strip()
        _child(stack, "ask", port, name, str(WARM), "4").communicate()  # the server's first requests import
        before = used_by(server.pid)
        askers = [_child(stack, "ask", port, name, str(count // 2), str(max(1, clients // 2))) for _ in range(2)]
        told = [json.loads(_line(one)) for one in askers]
        after = used_by(server.pid)
    whole = sorted(value for one in told for value in one["whole"])
    if len(whole) != count // 2 * 2:
        raise RuntimeError(f"{len(whole)} of {count} were answered")
    each = 1e3 / len(whole)
    return Floor(
        level=level,
        clients=clients,
        per_second=len(whole) / max(one["wall"] for one in told),
        p50=statistics.median(whole),
        p99=percentile(whole, 0.99),
        server_cpu=(after.cpu - before.cpu) * each,
        asker_cpu=sum(one["cpu"] for one in told) * each,
    )


def _child(stack: ExitStack, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lab.bench.floor_ends", *words]
    process = stack.enter_context(
        subprocess.Popen(command, cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE, text=True)
    )
    stack.callback(process.kill)  # before it is waited for
    return process


def _line(process: subprocess.Popen[str]) -> str:
    if process.stdout is None:
        raise TypeError("the process has no such pipe")
    return process.stdout.readline()


def line(one: Floor) -> str:
    """Write one level as a line of the table."""
    speed = f"{one.per_second:5.0f} {one.p50:7.1f} {one.p99:7.1f}"
    return f"{one.level:20} {speed} {one.server_cpu:15.2f} {one.asker_cpu:6.2f}"


def main() -> None:
    """Measure every level and print."""
    parser = argparse.ArgumentParser(prog="floor", description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--out", type=Path, help="folder for floor.json")
    args = parser.parse_args()
    print(HEADING)
    found = []
    for level in LEVELS:
        found.append(measure(level, args.count, args.clients))
        print(line(found[-1]), flush=True)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "floor.json").write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
