"""Knows the headers that every answer carries, and refuses a Host that is not ours before anything else happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from hsm_verifier.admin.place import Place

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""No script at all, from nowhere; one style sheet and one icon, both files of ours."""

ALWAYS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # not no-referrer: browsers would then send `Origin: null` with our own forms
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Secured:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, place: Place) -> None:
        """`place` knows the names that are ours."""
        self._app = app
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        if scope["type"] == "http" and not is_ours(Headers(scope=scope).getlist("host"), self._place):
            refused = Response("this page is not called by that name (admin.hosts)\n", 421, media_type="text/plain")
            await refused(scope, receive, send_secured)
            return
        await self._app(scope, receive, send_secured)


def is_ours(hosts: list[str], place: Place) -> bool:
    """Tell whether the Host header is there once and names this place; on any port, for tunnels have their own."""
    if len(hosts) != 1:
        return False
    host = hosts[0].lower()
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not _is_port(rest)):
            return False
        return name in place.names
    name, colon, port = host.partition(":")
    return name in place.names and (not colon or _is_port(":" + port))


def _is_port(text: str) -> bool:
    return text[:1] == ":" and text[1:].isascii() and text[1:].isdigit()
