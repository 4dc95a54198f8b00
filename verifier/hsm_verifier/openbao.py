"""Knows how to speak with OpenBao or HashiCorp Vault by hvac: bounded in time and size, blind to the environment.

A token comes from an AppRole, whose secret id is read from a file at each login, or from a file that an agent keeps
fresh. A token that is refused is got anew once; then the operator is told. One that cannot be got anew before its end
is used to its end. hvac's own error texts may quote answers and go no further than this module.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hvac
import requests
from hvac import exceptions as hvac_errors
from urllib3.exceptions import HTTPError

from hsm_verifier.bounded_session import CONNECT_SECONDS, READ_SECONDS, SOON, TOTAL_SECONDS, BoundedSession
from hsm_verifier.durable import read_secret
from hsm_verifier.settings import OpenBaoSettings
from hsm_verifier.vault import VaultError

LATE = 60.0  # seconds: what wants an operator's hand
_RENEW = 0.7  # of a token's life
ANEW = 10.0  # seconds for which a token that was got in a refused one's place is not got anew once more
_UNTIL_REVOKED = 3600.0  # a token without end is got anew all the same, so that a role taken away is noticed
_log = logging.getLogger("hsm_verifier")

_WORDS: tuple[tuple[type[Exception], str, float], ...] = (
    (hvac_errors.Forbidden, "permission denied; look at the role's policy", LATE),
    (hvac_errors.Unauthorized, "the token is not accepted", LATE),
    (hvac_errors.InvalidPath, "no such mount", LATE),
    (hvac_errors.InvalidRequest, "refused as invalid; is it a KV version 2 mount, and a role that exists?", LATE),
    (hvac_errors.RateLimitExceeded, "throttled", SOON),
    (hvac_errors.VaultNotInitialized, "not initialized", LATE),
    (hvac_errors.VaultDown, "sealed, or under maintenance", SOON),
    (hvac_errors.VaultError, "failed", SOON),
    (requests.exceptions.SSLError, "its certificate is not trusted; look at openbao.ca_file", LATE),
    (requests.exceptions.Timeout, "no answer in time", SOON),
    (requests.exceptions.RequestException, "unreachable", SOON),
    (HTTPError, "the answer broke off", SOON),
    (LookupError, "an answer of unknown shape", SOON),
    (TypeError, "an answer of unknown shape", SOON),
    (ValueError, "an answer of unknown shape", SOON),
    (AttributeError, "an answer of unknown shape", SOON),
)
"""Errors of hvac, requests and of reading an answer, the special before the general: what the operator hears."""


class OpenBao:
    """One KV version 2 mount and prefix (the `Kv` of vault_kv.py). Safe for threads."""

    def __init__(self, settings: OpenBaoSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Connect when asked."""
        self._settings = settings
        self._clock = clock
        self._session = BoundedSession(settings.ca_file, clock)
        self._lock = threading.Lock()
        self._client: Any = None
        self._fresh_until = self._good_until = 0.0
        self._anew_at = float("-inf")

    def read(self, key: str) -> tuple[dict[str, Any], int] | None:
        """Give a secret and its version, None when there is none; an empty one when its newest version was deleted."""

        def ask(kv: Any) -> tuple[dict[str, Any], int] | None:
            try:
                answer = kv.read_secret_version(
                    self._path(key), mount_point=self._settings.mount, raise_on_deleted_version=True
                )
            except hvac_errors.InvalidPath as error:
                _insist_on_nothing(error)
                left = _deleted_version(error)
                return None if left is None else ({}, left)
            return dict(answer["data"]["data"]), int(answer["data"]["metadata"]["version"])

        found: tuple[dict[str, Any], int] | None = self._do(ask)
        return found

    def write(self, key: str, secret: dict[str, Any], *, version: int) -> bool:
        """Write by check-and-set: where `version` is the current one, 0 for none; False when another is there."""

        def ask(kv: Any) -> bool:
            try:
                answer = kv.create_or_update_secret(
                    self._path(key), secret, cas=version, mount_point=self._settings.mount
                )
            except hvac_errors.InvalidRequest as error:
                if "check-and-set" not in str(error):
                    raise
                return False
            # hvac takes every status below 400 for success, a standby's redirect too: nothing is written there.
            if int(answer["data"]["version"]) != version + 1:
                raise LookupError
            return True

        return bool(self._do(ask))

    def names(self, key: str) -> tuple[str, ...]:
        """Give the names below a key; folders end in a slash."""

        def ask(kv: Any) -> tuple[str, ...]:
            try:
                answer = kv.list_secrets(self._path(key), mount_point=self._settings.mount)
            except hvac_errors.InvalidPath as error:
                _insist_on_nothing(error)
                return ()
            return tuple(str(name) for name in answer["data"]["keys"])

        return tuple(self._do(ask))

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def _path(self, key: str) -> str:
        return f"{self._settings.prefix}/{key}"

    def _do(self, ask: Callable[[Any], Any]) -> Any:
        """Ask; once more with a new token when ours was refused. Raises VaultError."""
        with _in_our_words():
            client = self._logged_in()
            try:
                return ask(client.secrets.kv.v2)
            except (hvac_errors.Forbidden, hvac_errors.Unauthorized):
                if not self._forget(client):
                    raise
            return ask(self._logged_in().secrets.kv.v2)

    def _logged_in(self) -> Any:
        with self._lock:
            if self._client is None or self._clock() >= self._fresh_until:
                self._renew(self._clock())
            return self._client

    def _renew(self, now: float) -> None:
        """Get a token; that there is none raises VaultError only where the one at hand has come to its end."""
        try:
            with _in_our_words():
                token, fresh, good = self._log_in()
        except VaultError as error:
            left = self._good_until - now
            if self._client is None or left <= 0:
                raise
            self._fresh_until = now + min(LATE, left)
            _log.warning("%s: no new token; the one at hand is good for %.0f s", error, left)
        else:
            self._client, self._fresh_until, self._good_until = self._with(token), now + fresh, now + good

    def _forget(self, client: Any) -> bool:
        """Have a token got in the place of a refused one. False when it was lately: then it is the right that lacks.

        A login for each asker would leave a token each in the store, and a fleet that keeps asking fill it with them.
        """
        with self._lock:
            if self._client is client:
                if self._clock() - self._anew_at < ANEW:
                    return False
                self._client, self._anew_at = None, self._clock()
            return True

    def _log_in(self) -> tuple[str, float, float]:
        """Give a token, for how many seconds it is not asked for again, and for how many it is good."""
        settings = self._settings
        if settings.token_file:
            # Read again and again: an agent replaces it.
            return _line_of(settings.token_file), TOTAL_SECONDS, TOTAL_SECONDS
        answer = self._with("").auth.approle.login(
            role_id=settings.role_id,
            secret_id=_line_of(settings.secret_id_file),
            use_token=False,
            mount_point=settings.auth_mount,
        )
        life = float(answer["auth"]["lease_duration"] or _UNTIL_REVOKED)
        return str(answer["auth"]["client_token"]), life * _RENEW, life

    def _with(self, token: str) -> Any:
        # Every argument is given, also the empty ones: for what is left out hvac looks into the environment.
        return hvac.Client(
            url=self._settings.url,
            token=token,
            cert="",
            verify=self._settings.ca_file or True,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            session=self._session,
            allow_redirects=False,
            namespace=self._settings.namespace,
        )


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except tuple(kind for kind, _, _ in _WORDS) as error:
        words, again_in = next((words, again_in) for kind, words, again_in in _WORDS if isinstance(error, kind))
        raise VaultError(f"OpenBao: {words}", again_in=again_in) from None


def _insist_on_nothing(error: hvac_errors.InvalidPath) -> None:
    """404 without a complaint: there is nothing. With one, the path itself is wrong, and that is not "nothing"."""
    if error.errors:
        raise error


def _deleted_version(error: hvac_errors.InvalidPath) -> int | None:
    """Give the version that check-and-set has to name where the newest one was deleted; None where there is none."""
    try:
        return int(error.json["data"]["metadata"]["version"])
    except (TypeError, LookupError, ValueError):
        return None


def _line_of(path: str) -> str:
    """Read a secret's one line. Raises VaultError."""
    try:
        return read_secret(Path(path)).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise VaultError(f"OpenBao: {path} cannot be read ({type(error).__name__})") from None
