"""The verifying party inside this process, without sockets, so that a test can take one of its defences out.

Everything from the HTTP application inward is the real thing, AWS's stand-ins included; only TLS and timers are left
out.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsm_verifier.app import App, Turns, make_app
from hsm_verifier.audit import Audit
from hsm_verifier.cli.serve import make_world
from hsm_verifier.limits import Sources
from hsm_verifier.service import Service
from hsm_verifier.settings import Settings
from tests.adversary.party import Party, Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Within(Party):
    """A party that is asked by calling it. `source` is whose address the connection has."""

    app: App = field(repr=False)
    runner: asyncio.Runner = field(repr=False)
    source: str = "192.0.2.66"

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        patient: bool = False,
    ) -> Reply:
        """One exchange; nobody waits here, `patient` or not."""
        del patient
        return self.runner.run(
            self._call(method, path, body or b"", {"content-length": str(len(body or b""))} | (headers or {}))
        )

    async def _call(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        said: list[dict[str, Any]] = []
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
            "client": (self.source, 4242),
            "server": ("127.0.0.1", 8443),
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            said.append(message)

        await self.app(scope, receive, send)
        first = said[0]
        return Reply(
            status=first["status"],
            headers={name.decode(): value.decode() for name, value in first["headers"]},
            body=b"".join(one.get("body", b"") for one in said[1:]),
        )


@contextlib.contextmanager
def make_within(settings: Settings, outside: Party) -> Iterator[Within]:
    """Open a site's state in this process; it must not be served by another one at the same time."""
    world = make_world(settings)

    async def hang_up() -> None:
        world.sts.close()

    service = Service(world, Audit(Path(settings.state.audit)))
    sources = Sources(settings.server, time.monotonic)
    runner = asyncio.Runner()
    yield Within(
        url=outside.url,
        ca_file=outside.ca_file,
        audience=outside.audience,
        answer_keys=outside.answer_keys,
        app=make_app(service, sources, Turns(2, 8), settings.server),
        runner=runner,
    )
    runner.run(hang_up())
    runner.close()
    world.store.close()
