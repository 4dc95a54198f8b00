"""Knows HTTP for the operators' page: whose Host it is, who asks, that a form is ours; everything else is pages.

In this order, and each failure is an answer without content: the Host header is one of ours (a stranger's page may
point its own name at this address), the asker is known, and whatever changes something was sent by a form that this
server gave to this session (Origin, and a ticket that is used once).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hsm_verifier.admin import pages
from hsm_verifier.admin.acts import Act, Grant, Refused, Resume, Revoke, Withdraw
from hsm_verifier.admin.asked import Asked, NotShown, Page
from hsm_verifier.admin.faults import HANDLERS
from hsm_verifier.admin.forms import read_form, same_origin
from hsm_verifier.admin.headers import Secured
from hsm_verifier.admin.office import ADDRESSES, STATIC, Office
from hsm_verifier.admin.who import Papers, Porter
from hsm_verifier.ledger.store import LedgerError
from hsm_verifier.limits import Buckets
from hsm_verifier.refusal import Refusal
from hsm_verifier.vault import VaultError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from hsm_verifier.admin.place import Place
    from hsm_verifier.admin.sessions import Session
    from hsm_verifier.admin.tokens import Caller

THREADS = 2  # pages at once; decisions have threads of their own
GUESSES = (10 / 60, 10)  # wrong tokens a second, and at once: a guess at 256 bits is hopeless, but costs an audit line
_KINDS = {"css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
_log = logging.getLogger("hsm_verifier")

Endpoint = Callable[[Request], Awaitable[Response]]


class Door:
    """Takes operators' requests in."""

    def __init__(self, office: Office, porter: Porter, place: Place) -> None:
        """Make the threads; nothing is answered yet."""
        self._office = office
        self._porter = porter
        self._place = place
        self._pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="admin")
        self._guesses = Buckets(*GUESSES, time.monotonic)
        # __Host-: no other host and no page without TLS can plant a cookie of that name.
        self._cookie = "__Host-hsm-admin" if place.tls else "hsm-admin"

    def app(self) -> ASGIApp:
        """Give the ASGI application."""
        office = self._office
        routes = [
            *(Route(address, self._static(name), methods=["GET"]) for name, address in ADDRESSES.items()),
            Route("/login", self._login_form, methods=["GET"]),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/", self._read(pages.fleet), methods=["GET"]),
            Route("/metrics", self._read(pages.show_metrics), methods=["GET"]),
            Route("/decisions", self._read(pages.decisions), methods=["GET"]),
            Route("/decisions/{decision}", self._read(pages.decision), methods=["GET"]),
            Route("/instances/{instance}", self._read(pages.instance), methods=["GET"]),
        ]
        for address, act in (
            ("/instances/{instance}/grant", Grant(office=office)),
            ("/instances/{instance}/withdraw", Withdraw(office=office)),
            ("/instances/{instance}/revoke", Revoke(office=office)),
            ("/gates/{pin_id}/resume", Resume(office=office)),
        ):
            routes.append(Route(address, self._ask_back(act), methods=["GET"]))
            routes.append(Route(address, self._act(act), methods=["POST"]))
        made = Starlette(routes=routes, exception_handlers=HANDLERS)
        return Secured(made, self._place)

    def _read(self, page: Callable[[Office, Asked], Page]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            caller, session = self._admit(request)
            if caller is None:
                return self._stranger(request)
            asked = self._asked(request, caller, session, {})
            return await self._shown(asked, lambda: page(self._office, asked))

        return endpoint

    def _ask_back(self, act: Act) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            caller, session = self._admit(request)
            if caller is None:
                return self._stranger(request)
            made = None
            if session is None and self._porter.tokens is None:
                session = made = self._porter.sessions.begin(caller)
            asked = self._asked(request, caller, session, {})
            if not caller.may_act or session is None:
                return await self._shown(asked, lambda: _fault(self._office, asked, 403, _MAY_NOT))
            ticket = self._porter.sessions.give_ticket(session, asked.address)
            response = await self._shown(asked, lambda: act.form(asked, ticket))
            if made is not None:
                self._set_cookie(response, made.name)
            return response

        return endpoint

    def _act(self, act: Act) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            caller, session = self._admit(request)
            if caller is None:
                return self._stranger(request)
            form = await read_form(request)
            asked = self._asked(request, caller, session, form)
            if not caller.may_act:
                return await self._shown(asked, lambda: _fault(self._office, asked, 403, _MAY_NOT))
            sessions = self._porter.sessions
            ours = session is not None and same_origin(request, tls=self._place.tls)
            if session is None or not ours or not sessions.take_ticket(session, form.get("ticket", ""), asked.address):
                return await self._shown(asked, lambda: _fault(self._office, asked, 403, _NOT_OURS))

            def work() -> Page:
                try:
                    sessions.tell(session, act.do(asked))
                except Refused as fault:
                    return act.form(asked, sessions.give_ticket(session, asked.address), str(fault))
                return Page(status=303, location=act.back(asked))

            return await self._shown(asked, work)

        return endpoint

    async def _login_form(self, _request: Request) -> Response:
        if self._porter.tokens is None:
            return Response(status_code=303, headers={"location": "/"})
        return await self._shown(None, lambda: self._office.render("login.html", None, fault=""))

    async def _login(self, request: Request) -> Response:
        tokens, office = self._porter.tokens, self._office
        if tokens is None or not same_origin(request, tls=self._place.tls):
            return await self._shown(None, lambda: _fault(office, None, 403, _NOT_OURS))
        form = await read_form(request)

        def work() -> Page:
            caller = tokens.find(form.get("token", "").strip())
            if caller is None:
                if self._guesses.wait_for("all"):  # only who guesses waits: strangers must not keep operators out
                    return _fault(office, None, 429, "Too many wrong tokens; wait a minute")
                office.audit.write("admin_login_refused", office.clock(), alarm=True)
                office.counts.raise_alarm()
                return office.render("login.html", None, status=401, fault="No operator has this token")
            office.audit.write("admin_login", office.clock(), by=caller.name)
            return Page(status=303, location="/", cookie=self._porter.sessions.begin(caller).name)

        return await self._shown(None, work)

    async def _logout(self, request: Request) -> Response:
        if not same_origin(request, tls=self._place.tls):
            return await self._shown(None, lambda: _fault(self._office, None, 403, _NOT_OURS))
        self._porter.sessions.end(request.cookies.get(self._cookie, ""))
        response = Response(status_code=303, headers={"location": "/login"})
        response.delete_cookie(self._cookie, path="/", secure=self._place.tls, httponly=True, samesite="strict")
        return response

    def _static(self, name: str) -> Endpoint:
        kind = _KINDS[name.rpartition(".")[2]]

        async def endpoint(_request: Request) -> Response:
            headers = {"cache-control": "public, max-age=31536000, immutable", "content-type": kind}
            return Response(STATIC[name], headers=headers)

        return endpoint

    def _admit(self, request: Request) -> tuple[Caller | None, Session | None]:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return self._porter.admit(
            Papers(
                uid=getattr(request.state, "uid", None),
                bearer=token.strip() if scheme.lower() == "bearer" else "",
                cookie=request.cookies.get(self._cookie, ""),
            )
        )

    def _asked(self, request: Request, caller: Caller, session: Session | None, form: dict[str, str]) -> Asked:
        return Asked(
            caller=caller,
            session=session,
            address=request.url.path,
            path=dict(request.path_params),
            query=dict(request.query_params),
            form=form,
            token_used=self._porter.tokens is not None,
        )

    def _stranger(self, request: Request) -> Response:
        if self._porter.tokens is None:
            return Response(
                "not a user who may see this (admin.may_read, admin.may_act)\n", 403, media_type="text/plain"
            )
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return Response(status_code=303, headers={"location": "/login"})
        headers = {"www-authenticate": 'Bearer realm="hsm-verifier"'}
        return Response("a token is wanted\n", 401, headers=headers, media_type="text/plain")

    async def _shown(self, asked: Asked | None, work: Callable[[], Page]) -> Response:
        """Make a page in a thread of our own; what cannot be read is told, never a stack."""

        def careful() -> Page:
            try:
                return work()
            except NotShown as fault:
                return _fault(self._office, asked, fault.status, fault.sentence)
            except pages.UNREADABLE as error:
                _log.warning("admin page: %s", type(error).__name__)
                what = str(error) if isinstance(error, (LedgerError, VaultError)) else type(error).__name__
                what = error.detail if isinstance(error, Refusal) else what
                return _fault(self._office, asked, 503, f"Ledger, bundles or audit cannot be read: {what}")

        page = await asyncio.get_running_loop().run_in_executor(self._pool, careful)
        response = Response(page.body, page.status, headers={"content-type": page.kind})
        if page.location is not None:
            response.headers["location"] = page.location
        if page.cookie:
            self._set_cookie(response, page.cookie)
        return response

    def _set_cookie(self, response: Response, name: str) -> None:
        response.set_cookie(self._cookie, name, path="/", httponly=True, samesite="strict", secure=self._place.tls)


_MAY_NOT = "You may read here, not act"
_NOT_OURS = "This form was not given to you by this page, or was sent already; open it again"


def _fault(office: Office, asked: Asked | None, status: int, sentence: str) -> Page:
    return office.render("fault.html", asked, status=status, sentence=sentence)
