"""Knows a server that decides nothing, and askers who open no answer: both ends of the floor, as processes.

`python -m lab.bench.floor_ends serve LEVEL FOLDER` tells its port on stdout, `… ask PORT FOLDER COUNT CLIENTS` its
figures.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from hsm_enrol.wire import jws
from hsm_enrol.wire.seal import KEMS, SealPrivateKey, SealPublicKey
from lab import pki
from lab.bench.line import Line, context_of

LEVELS = ("wire", "cryptography", "durable", "together")
CHALLENGE, ASSERTION, BUNDLE, RECEIPT = 240, 5000, 4000, 450  # bytes
OK = 200
HEADER = b'{"alg":"ES256"}'
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Work:
    """What an enrolment asks of any verifier's processor and disk, and nothing that would have to be decided."""

    def __init__(self, level: str, folder: Path) -> None:
        """Make keys, and a database and an audit file in `folder`."""
        self._level = LEVELS.index(level)
        self._asker, self._answer, self._aws = pki.ec_key(), pki.ec_key(), pki.rsa_key()
        self._signed = jws.sign(HEADER, b"x" * (ASSERTION * 3 // 4), self._asker)
        self._document = b"x" * 500
        self._document_signature = self._aws.sign(self._document, padding.PKCS1v15(), hashes.SHA256())
        self._seal = SealPrivateKey.generate(KEMS[0]).public.raw
        self.database = sqlite3.connect(folder / "floor.db", isolation_level=None, check_same_thread=False)
        for line in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE slots (state TEXT)"):
            self.database.execute(line)
        self._audit = os.open(folder / "audit.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._writer = ThreadPoolExecutor(1)
        self._waiting: list[asyncio.Future[None]] = []
        self._writing: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Close both."""
        self._writer.shutdown()
        self.database.close()
        os.close(self._audit)

    async def answer(self) -> bytes:
        """Do what an assertion asks for and give bytes of an answer's size."""
        if self._level == 0:
            return b"x" * (BUNDLE * 3 // 2)
        jws.verify(self._signed, HEADER, self._asker.public_key())
        self._aws.public_key().verify(self._document_signature, self._document, padding.PKCS1v15(), hashes.SHA256())
        sealed = SealPublicKey.load(KEMS[0], self._seal).seal(b"x" * BUNDLE, b"info")
        answer = jws.sign(HEADER, sealed, self._answer)
        await self._keep()
        return answer

    async def receipt(self) -> None:
        """Do what a receipt asks for."""
        if self._level:
            jws.verify(self._signed, HEADER, self._asker.public_key())
            await self._keep()

    async def _keep(self) -> None:
        if self._level == LEVELS.index("durable"):
            self._write(1)
        elif self._level == LEVELS.index("together"):
            kept = asyncio.get_running_loop().create_future()
            self._waiting.append(kept)
            if self._writing is None:
                self._writing = asyncio.create_task(self._write_for_all())
            await kept

    async def _write_for_all(self) -> None:
        """Have a thread write what is wanted, then what was wanted meanwhile, until nobody waits."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await asyncio.get_running_loop().run_in_executor(self._writer, self._write, len(batch))
            for one in batch:
                one.set_result(None)
        self._writing = None

    def _write(self, count: int) -> None:
        self.database.execute("BEGIN IMMEDIATE")
        for _ in range(count):
            self.database.execute("INSERT INTO slots VALUES ('TAKEN')")
        self.database.execute("COMMIT")
        os.write(self._audit, (b"x" * 1000 + b"\n") * count)
        os.fdatasync(self._audit)


def make_app(work: Work) -> Callable[[dict[str, Any], Receive, Send], Awaitable[None]]:
    """Give an ASGI application of three addresses."""

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        more = scope["method"] == "POST"
        while more:
            more = (await receive()).get("more_body", False)
        status, body = OK, b"x" * CHALLENGE
        if scope["path"] == "/v1/enrolments":
            body = await work.answer()
        elif scope["path"] == "/v1/receipts":
            await work.receipt()
            status, body = 204, b""
        headers = [(b"content-length", str(len(body)).encode())] if body else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def serve(level: str, folder: Path) -> None:
    """Serve on a port of the kernel's choice, told on stdout, until killed."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        config = uvicorn.Config(
            make_app(Work(level, folder)),
            http="httptools",
            loop="uvloop",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            ssl_certfile=str(folder / "server.pem"),
            ssl_keyfile=str(folder / "server.key"),
        )
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(config).run(sockets=[listener])


def ask(port: int, folder: Path, count: int, clients: int) -> None:
    """Enrol so often with so many threads; tell latencies and CPU on stdout."""
    context = context_of(folder / "ca.pem")
    stock: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(count):
        stock.put(number)
    whole: list[float] = []

    def work() -> None:
        while True:
            try:
                stock.get_nowait()
            except queue.Empty:
                return
            begin = time.perf_counter()
            with Line(("127.0.0.1", port), context) as line:
                line.ask("GET", "/v1/challenge")
                if line.ask("POST", "/v1/enrolments", "application/jose", b"x" * ASSERTION).status != OK:
                    raise RuntimeError("not answered")
                line.ask("POST", "/v1/receipts", "application/jose", b"x" * RECEIPT)
            whole.append((time.perf_counter() - begin) * 1e3)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    began, before = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = {"whole": whole, "wall": time.perf_counter() - began, "cpu": time.process_time() - before}
    print(json.dumps(told), flush=True)


def main() -> None:
    """Be one of both."""
    match sys.argv[1:]:
        case ["serve", level, folder]:
            serve(level, Path(folder))
        case ["ask", port, folder, count, clients]:
            ask(int(port), Path(folder), int(count), int(clients))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
