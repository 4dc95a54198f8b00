"""Knows who may see and who may act: this machine's users by the kernel's word, or holders of a token.

Without `admin.tokens` only local places exist (place.py): root and the server's own user may act, and whoever
`may_act` and `may_read` add. With it everyone signs in, wherever they come from, and the user id counts for nothing.
"""

from __future__ import annotations

import pwd
from dataclasses import dataclass

from hsm_verifier.admin.peers import may_always
from hsm_verifier.admin.sessions import Session, Sessions
from hsm_verifier.admin.tokens import Caller, Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """What came with one request: the user at the other end, a bearer token, a session cookie."""

    uid: int | None
    bearer: str
    cookie: str


class Porter:
    """Looks at papers."""

    def __init__(
        self, sessions: Sessions, tokens: Tokens | None, *, may_act: frozenset[int], may_read: frozenset[int]
    ) -> None:
        """`tokens` is None on a local place without a token file."""
        self.sessions = sessions
        self.tokens = tokens
        self._may_act = may_act | may_always()
        self._may_read = may_read

    def admit(self, papers: Papers) -> tuple[Caller | None, Session | None]:
        """Give who this is, None for a stranger, and the session that is theirs."""
        session = self.sessions.find(papers.cookie) if papers.cookie else None
        if self.tokens is None:
            caller = self._local(papers.uid)
            return caller, session if session is not None and session.caller == caller else None
        if papers.bearer:
            return self.tokens.find(papers.bearer), None
        if session is None or not self.tokens.still_knows(session.caller):
            return None, None
        return session.caller, session

    def _local(self, uid: int | None) -> Caller | None:
        if uid is None or uid not in self._may_act | self._may_read:
            return None
        return Caller(name=_name(uid), may_act=uid in self._may_act)


def _name(uid: int) -> str:
    try:
        return f"uid {uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return f"uid {uid}"
