"""Knows how to be many instances at once: a process of threads, each asking as an agent does, and timing itself.

`python -m lab.bench.load PLAN.json` reads its orders, writes one JSON line: latencies of whole enrolments in
milliseconds, what went wrong, its own CPU. A whole enrolment is challenge, assertion and receipt; keys, proof and
signatures are made while the clock runs, answers are opened after it.
"""

from __future__ import annotations

import json
import resource
import ssl
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsm_enrol.wire.assertion import Assertion
from hsm_enrol.wire.keys import public_from_pem
from hsm_enrol.wire.messages import ASSERTION_TYPE, RECEIPT_TYPE, Challenge
from hsm_enrol.wire.seal import SealPrivateKey
from lab.asking import now
from lab.bench.asker import Asker, Facts, Party
from lab.bench.line import Broken, Line, Reply, context_of

OK, NO_CONTENT = 200, 204
PATIENCE = 40  # tries of one exchange; a bench that needs more has found a fault


@dataclass(slots=True)
class Tally:
    """What one thread saw. Times in milliseconds."""

    whole: list[float] = field(default_factory=list)
    exchange: list[float] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)
    served: list[tuple[Asker, Assertion, bytes]] = field(default_factory=list)


class Client:
    """One of many at the same time: takes an instance from the common stock, enrols it, takes the next."""

    def __init__(self, plan: dict[str, Any], context: ssl.SSLContext, stock: list[Asker]) -> None:
        """`plan["connections"]` is `fresh` (one an enrolment), `each` (one a request) or `kept`."""
        self._address = (str(plan["host"]), int(plan["port"]))
        self._context = context
        self._stock = stock
        self._connections = str(plan["connections"])
        self._line: Line | None = None
        self.tally = Tally()

    def run(self) -> None:
        """Work until the stock is empty."""
        while True:
            try:
                asker = self._stock.pop()
            except IndexError:
                break
            self._enrol(asker)
            if self._connections != "kept":
                self._hang_up()
        self._hang_up()

    def _enrol(self, asker: Asker) -> None:
        begin = time.perf_counter()
        challenge = Challenge.from_bytes(self._ask("GET", "/v1/challenge", OK).body)
        request = asker.request(challenge.nonce, amz_date=now(), iat=challenge.server_time)
        body = asker.signed(request)
        asked = time.perf_counter()
        reply = self._ask("POST", "/v1/enrolments", OK, ASSERTION_TYPE, body)
        answered = time.perf_counter()
        self._ask(
            "POST", "/v1/receipts", NO_CONTENT, RECEIPT_TYPE, asker.receipt(request, asker.read(reply.body).serial)
        )
        end = time.perf_counter()
        self.tally.whole.append((end - begin) * 1e3)
        self.tally.exchange.append((answered - asked) * 1e3)
        self.tally.served.append((asker, request, reply.body))

    def _ask(self, method: str, path: str, want: int, kind: str = "", body: bytes = b"") -> Reply:
        """Ask until it is answered as wanted; every other end is counted."""
        for _ in range(PATIENCE):
            reply = self._once(method, path, kind, body)
            if reply is not None and reply.status == want:
                return reply
            if reply is not None:
                self.tally.broken[f"{path} {reply.status}"] += 1
                threading.Event().wait(min(reply.retry_after or 0.1, 1.0))
        raise RuntimeError(f"{path} failed {PATIENCE} times: {dict(self.tally.broken)}")

    def _once(self, method: str, path: str, kind: str, body: bytes) -> Reply | None:
        old = self._line is not None
        try:
            if self._line is None:
                self._line = Line(self._address, self._context)
            reply = self._line.ask(method, path, kind, body)
        except (OSError, Broken) as error:
            # A kept connection may be closed by the server at any moment between requests (RFC 9112 section 9.5):
            # opening another is the ordinary course. On a new connection it is a fault.
            self.tally.broken[f"{'kept' if old else 'new'} {path} {type(error).__name__}"] += 1
            self._hang_up()
            return None
        if reply.close or self._connections == "each":
            self._hang_up()
        return reply

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def main() -> None:
    """Run the plan's threads and tell."""
    plan: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    party = Party(audience=plan["audience"], answer_key=public_from_pem(plan["answer_key"].encode()))
    seal = SealPrivateKey.generate(plan["kem"])
    facts = [Facts.from_json(line) for line in plan["fleet"]]
    stock = [Asker(facts=one, party=party, seal=seal) for one in facts]
    context = context_of(Path(plan["ca_file"]))
    clients = [Client(plan, context, stock) for _ in range(plan["clients"])]
    threads = [threading.Thread(target=client.run) for client in clients]
    print("ready", flush=True)
    sys.stdin.readline()  # all generators begin together
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended, after = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    tallies = [client.tally for client in clients]
    opened = sum(
        asker.open(asker.read(body), request) is not None for tally in tallies for asker, request, body in tally.served
    )
    told = {
        "wall": ended - began,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "whole": [value for tally in tallies for value in tally.whole],
        "exchange": [value for tally in tallies for value in tally.exchange],
        "opened": opened,
        "broken": sum((tally.broken for tally in tallies), Counter()),
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
