"""Knows how to read one item from the instance metadata service, version 2: token, retries, caps and time.

What a status means (EC2 guide, "Use the Instance Metadata Service"): 200 the value; 404 there is no such item now, and
its page is never a value (P8); 401 the token is not known any more, so one new token and once more; 403 the service is
switched off; 400 and anything else comes from something that is not IMDS. 429, 5xx, time-outs and broken connections
pass (P16): they are tried again until the deadline.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hsm_enrol.errors import EnrolError, ImdsHopLimit, ImdsOdd, ImdsOff, ImdsThrottled, ImdsUnreachable
from hsm_enrol.host.http_client import UNPACKED, Client, Failed, Request
from hsm_enrol.host.retry import Deadline, retrying, seconds_of

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

MOST_BYTES: Final = 16 * 1024  # credentials, the largest item, hold a token of at most 12,288 characters
TOKEN_SECONDS: Final = 300  # longer than a run reads for; a token in a core file is soon worth nothing
PATIENCE: Final = 2.0  # seconds for one exchange; the service is on the same machine's wire and answers in milliseconds
ROOM: Final = 0.5  # seconds an exchange wants before the deadline; without them its time-out would hide the cause
SILENT_PUTS: Final = 3  # so many token time-outs beside a live service are the hop limit and no accident
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY, _SERVER_ERROR = 200, 401, 403, 404, 429, 500
_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{1,1024}", re.ASCII)
_TOKEN_ITEM = "api/token"  # noqa: S105  a path


class Metadata:
    """One asker of one service: a session, a token, one deadline for everything it does."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        deadline: Deadline,
        rng: random.Random,
        sleep: Callable[[float], None],
        on_wait: Callable[[str, float], None] | None = None,
        on_exchange: Callable[[str], None] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """Open nothing yet. The first of `endpoints` that takes a connection is asked for everything."""
        self._endpoints = tuple(endpoints)
        self._deadline = deadline
        self._rng = rng
        self._sleep = sleep
        self._on_wait = on_wait
        self._on_exchange = on_exchange
        self._patience = patience
        self._client = Client.plain()
        self._token = ""
        self._silent_puts = 0

    @property
    def endpoint(self) -> str:
        """Who is asked: one address once it is found, before that all that are tried."""
        return " or ".join(self._endpoints)

    def close(self) -> None:
        """Give the connection back and forget the token."""
        self._token = ""
        self._client.close()

    def begin(self) -> None:
        """Count the deadline from now."""
        self._deadline.start_over()

    def fetch(self, item: str) -> bytes | None:
        """Give the body of an item (its path below /latest/), None when there is none now.

        Raises ImdsOff, ImdsOdd, and when the deadline is over ImdsUnreachable, ImdsHopLimit or ImdsThrottled.
        """
        loop = retrying(
            self._deadline,
            on=(_Passing,),
            sleep=self._sleep,
            rng=self._rng,
            room=ROOM,
            on_wait=self._tell if self._on_wait else None,
        )
        try:
            return loop(self._get, item)
        except _Passing as passing:
            raise passing.error from None

    def _get(self, item: str) -> bytes | None:
        """Ask once; with a token refused, once more with a new one."""
        if self._token:
            status, body = self._ask("GET", item, {"X-aws-ec2-metadata-token": self._token})
            if status != _UNAUTHORIZED:
                return self._value(item, status, body)
        self._token = self._new_token()
        status, body = self._ask("GET", item, {"X-aws-ec2-metadata-token": self._token})
        return self._value(item, status, body)

    def _value(self, item: str, status: int, body: bytes) -> bytes | None:
        if status == _NOT_FOUND:
            return None
        if status != _OK:
            raise self.odd(item, f"status {status}")
        return body

    def _new_token(self) -> str:
        """Ask each endpoint in turn; from then on only the one that answered."""
        unreachable: _Passing | None = None
        for endpoint in self._endpoints:
            try:
                status, body = self._put(endpoint)
            except _NoConnection as none:
                unreachable = unreachable or none  # the first address is the one an operator knows
                continue
            self._endpoints = (endpoint,)
            text = body.decode("ascii", "replace")
            if status != _OK or not _TOKEN.fullmatch(text):
                raise self.odd(_TOKEN_ITEM, "no token" if status == _OK else f"status {status}")
            return text
        raise unreachable or TypeError("no endpoint to ask")

    def _put(self, endpoint: str) -> tuple[int, bytes]:
        """Ask for a token. Beyond the hop limit its answer is dropped on the way, not refused (P6)."""
        seconds = min(self._patience, self._deadline.remaining() / 2)  # the other half is for finding out why
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
        try:
            return self._ask("PUT", _TOKEN_ITEM, headers, endpoint=endpoint, seconds=seconds)
        except _Silent as silent:
            # A wrong token makes this a version 2 request, so no count of requests without token rises by it.
            try:
                self._ask("GET", "meta-data/", {"X-aws-ec2-metadata-token": "none"}, endpoint=endpoint)
            except (_Passing, EnrolError):
                raise silent from None
            self._silent_puts += 1
            hop_limit = ImdsHopLimit(endpoint=endpoint)
            if self._silent_puts >= SILENT_PUTS:
                raise hop_limit from None
            raise _Passing(hop_limit) from None

    def _ask(
        self, method: str, item: str, headers: dict[str, str], *, endpoint: str = "", seconds: float | None = None
    ) -> tuple[int, bytes]:
        """Make one exchange; give status and body. Raises _Passing, ImdsOff, ImdsOdd."""
        endpoint = endpoint or self._endpoints[0]
        limit = self._deadline.timeout(self._patience if seconds is None else seconds)
        request = Request(
            method=method,
            url=f"{endpoint}/latest/{item}",
            headers=headers,
            seconds=limit,
            connect=limit,
            cap=_cap,
        )
        try:
            answer = self._client.fetch(request)
        except Failed as failure:
            kind = _Silent if failure.how == "silent" else _NoConnection
            raise kind(ImdsUnreachable(endpoint=endpoint, error=failure.words)) from None
        if answer.status == _FORBIDDEN:
            raise ImdsOff(endpoint=endpoint)
        if answer.status == _TOO_MANY or answer.status >= _SERVER_ERROR:
            throttled = ImdsThrottled(status=answer.status, seconds=round(self._deadline.seconds))
            raise _Passing(throttled, seconds_of(answer.retry_after))
        if answer.encoding != UNPACKED:
            raise self.odd(item, "packed, though not asked to")
        self._note(f"{method} {request.url}: {answer.status}, {len(answer.body)} bytes")
        if len(answer.body) > MOST_BYTES:
            raise self.odd(item, f"more than {MOST_BYTES} bytes")
        return answer.status, answer.body

    def odd(self, item: str, what: str) -> ImdsOdd:
        """Make the error for an answer that is none."""
        return ImdsOdd(item=item, what=what, endpoint=self.endpoint)

    def _note(self, exchange: str) -> None:
        if self._on_exchange is not None:
            self._on_exchange(exchange)

    def _tell(self, failure: BaseException, seconds: float) -> None:
        if self._on_wait is not None and isinstance(failure, _Passing):
            self._on_wait(failure.error.fault(), seconds)


def _cap(status: int, _kind: str) -> int | None:
    """Read no page but of a status that is told by `-v` with its size: the others' say no more, and may never end."""
    return MOST_BYTES if status in {_OK, _UNAUTHORIZED, _NOT_FOUND} else None


class _Passing(Exception):
    """A trouble that may pass, with the error it is if it does not."""

    def __init__(self, error: EnrolError, retry_after: float | None = None) -> None:
        super().__init__(error.fault())
        self.error = error
        self.retry_after = retry_after


class _NoConnection(_Passing):
    """Nobody took, or kept, the connection."""


class _Silent(_Passing):
    """The connection stood, and no answer came in time."""
