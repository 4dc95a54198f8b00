"""Knows what a page is asked with and what it answers: plain values, so that pages know nothing of HTTP's machinery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from hsm_verifier.admin.sessions import Session
from hsm_verifier.admin.tokens import Caller

HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request by somebody known; `path` are the parts named in the route, `form` a POST's fields."""

    caller: Caller
    session: Session | None
    address: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]
    token_used: bool

    def link(self, address: str, **changes: str) -> str:
        """Give an address with this request's query changed; an empty value takes a name out."""
        query = {name: value for name, value in {**self.query, **changes}.items() if value}
        return f"{address}?{urlencode(query)}" if query else address


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One answer. `location` makes it a redirection; `cookie` is a session's name to set, "" to take it back."""

    body: str = ""
    status: int = 200
    kind: str = HTML
    location: str | None = None
    cookie: str | None = field(default=None, repr=False)


class NotShown(Exception):
    """A page that cannot be: status and a sentence for the operator."""

    def __init__(self, status: int, sentence: str) -> None:
        """Take a sentence without anything secret in it."""
        self.status = status
        self.sentence = sentence
        super().__init__(sentence)
