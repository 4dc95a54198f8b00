"""Edges of the verifier's ledger at which its process can be made to die: SIGKILL, nothing is flushed or closed.

`arm(folder)` runs in the verifier's process before it serves. At each edge a file of the edge's name in `folder` means
"now": it is removed and the process is gone. Nothing of this is in the product.
"""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from hsm_verifier import audit
from hsm_verifier.ledger.store import Store
from hsm_verifier.service import Service

STEPS = ("received", "before COMMIT", "after COMMIT", "audit torn", "after audit", "sent")
MESSAGES = ("enrolments", "receipts")


def edge_name(message: str, step: str) -> str:
    return f"{message} {step}".replace(" ", "-")


def arm(folder: str) -> None:
    """Put an edge at each step."""
    here, doing = Path(folder), threading.local()

    def armed(step: str) -> bool:
        message = getattr(doing, "message", "")
        path = here / edge_name(message, step)
        if not message or not path.exists():
            return False
        path.unlink()
        return True

    def edge(step: str) -> None:
        if armed(step):
            die()

    _around_messages(doing, edge)
    _around_commit(edge)
    _in_audit(armed)
    _after_sending(here)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _around_messages(doing: threading.local, edge: Any) -> None:
    for name, message in (("enrol", "enrolments"), ("receipt", "receipts")):
        whole = getattr(Service, name)

        def wrapped(self: Service, body: bytes, source: str, *, whole: Any = whole, message: str = message) -> Any:
            doing.message = message
            try:
                edge("received")
                reply = whole(self, body, source)
                edge("after audit")
                return reply
            finally:
                doing.message = ""

        setattr(Service, name, wrapped)


def _around_commit(edge: Any) -> None:
    whole = Store.deciding

    @contextlib.contextmanager
    def deciding(self: Store) -> Iterator[Any]:
        with whole(self) as tx:
            yield tx
            edge("before COMMIT")
        edge("after COMMIT")

    Store.deciding = deciding  # type: ignore[method-assign]


def _in_audit(armed: Any) -> None:
    whole = audit._write_whole

    def write(handle: int, line: bytes) -> None:
        if armed("audit torn"):
            os.write(handle, line[: len(line) // 2])
            die()
        whole(handle, line)

    audit._write_whole = write


def _after_sending(here: Path) -> None:
    whole = RequestResponseCycle.send

    async def send(self: RequestResponseCycle, message: Any) -> None:
        await whole(self, message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            path = here / edge_name(self.scope["path"].rpartition("/")[2], "sent")
            if path.exists():
                path.unlink()
                asyncio.get_running_loop().call_later(0.02, die)  # once the event loop has written it out

    RequestResponseCycle.send = send  # type: ignore[method-assign]
