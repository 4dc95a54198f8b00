"""Knows the file of operators' tokens: a name, what it may do, and the token's SHA-256; the token itself is not kept.

Tokens are 256 random bits, so a plain hash of one tells nothing. The file is read again when it changes: a line taken
out ends that operator's sessions at their next request.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hsm_verifier.durable import read_secret, write_file

NAME = r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}"
_LINE = re.compile(rf"({NAME}) (act|read) ([0-9a-f]{{64}})", re.ASCII)
PREFIX = "hsm-admin-"  # so that scanners of repositories can know one when they see it


class TokenError(Exception):
    """The token file cannot be used; names the line, never what is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, as the audit names them, and whether they may change anything; `digest` is of the token shown."""

    name: str
    may_act: bool
    digest: str = field(default="", repr=False, compare=False)


class Tokens:
    """One token file."""

    def __init__(self, path: Path) -> None:
        """Read it once, so that a fault shows at the start. Raises OSError, TokenError."""
        self._path = path
        self._stamp: tuple[int, ...] = ()
        self._lines: tuple[tuple[str, str, str], ...] = ()
        self._read()

    def find(self, token: str) -> Caller | None:
        """Give whose token this is. Each is compared in constant time, also after one fitted. Raises TokenError."""
        self._look()
        digest = _digest(token)
        found = None
        for name, role, known in self._lines:
            if hmac.compare_digest(digest, known):
                found = _caller(name, role, known)
        return found

    def still_knows(self, caller: Caller) -> bool:
        """Tell whether a caller that was found earlier would be found today, by the same token. Raises TokenError."""
        self._look()
        return any(caller == (one := _caller(*line)) and caller.digest == one.digest for line in self._lines)

    def _look(self) -> None:
        """Read it again if it changed; while it cannot be read nobody is known."""
        try:
            self._read()
        except OSError as error:
            raise TokenError(str(error)) from None

    def _read(self) -> None:
        status = self._path.stat()
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        if stamp != self._stamp:
            self._lines = read_tokens(self._path)
            self._stamp = stamp


def read_tokens(path: Path) -> tuple[tuple[str, str, str], ...]:
    """Give (name, role, SHA-256) of each line. Raises OSError (also when others may read it), TokenError."""
    found = []
    for number, line in enumerate(read_secret(path).decode("ascii", "replace").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise TokenError(f"{path}: line {number} is not NAME act|read SHA-256; make it with `hsm-verifier admin`")
        found.append((match[1], match[2], match[3]))
    return tuple(found)


def add_token(path: Path, name: str, role: str) -> str:
    """Add a line and give the new token, which nobody can show again. Raises TokenError when the name is taken."""
    if not re.fullmatch(NAME, name, re.ASCII):
        raise TokenError(f"{name!r}: a name has 1 to 64 of A-Z a-z 0-9 _ . @ -")
    with _alone(path):
        known = read_tokens(path) if path.exists() else ()
        if name in {one[0] for one in known}:
            raise TokenError(f"{name} has a token; remove it first")
        token = PREFIX + secrets.token_urlsafe(32)
        _write(path, (*known, (name, role, _digest(token))))
    return token


def remove_token(path: Path, name: str) -> bool:
    """Take a name's line out; False when there is none."""
    with _alone(path):
        known = read_tokens(path) if path.exists() else ()
        rest = tuple(one for one in known if one[0] != name)
        if rest == known:
            return False
        _write(path, rest)
    return True


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one change after the other be made: two at once would lose one, and a token taken back could stay."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _caller(name: str, role: str, digest: str) -> Caller:
    return Caller(name=f"token {name}", may_act=role == "act", digest=digest)


def _write(path: Path, lines: tuple[tuple[str, str, str], ...]) -> None:
    text = "".join(f"{name} {role} {digest}\n" for name, role, digest in lines)
    write_file(path, text.encode(), mode=0o600, replace=True)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
