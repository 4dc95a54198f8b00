"""Knows how the running server's parts become the operators' listener, or none when `[admin]` has no `listen`."""

from __future__ import annotations

import contextlib
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hsm_verifier.admin.door import Door
from hsm_verifier.admin.listener import Listener
from hsm_verifier.admin.office import Office
from hsm_verifier.admin.place import place_of, users
from hsm_verifier.admin.recent import Recent
from hsm_verifier.admin.sessions import Sessions
from hsm_verifier.admin.tokens import TokenError, Tokens
from hsm_verifier.admin.who import Porter
from hsm_verifier.published import Catalogue, show
from hsm_verifier.settings import Settings, SettingsError
from hsm_verifier.sockets import announce

if TYPE_CHECKING:
    from hsm_verifier.audit import Audit
    from hsm_verifier.counts import Counts
    from hsm_verifier.ledger.store import Store
    from hsm_verifier.ports import Policy
    from hsm_verifier.published import Bundles


def open_admin(
    settings: Settings, *, store: Store, bundles: Bundles, audit: Audit, counts: Counts, policy: Policy
) -> Listener | None:
    """Make the listener; its socket is open when this returns. Raises SettingsError, OSError."""
    if not settings.admin.listen:
        return None
    place = place_of(settings)
    sessions = Sessions(time.monotonic)
    office = Office(
        audience=settings.audience,
        store=store,
        catalogue=Catalogue(bundles),
        recent=Recent(Path(settings.state.audit)),
        audit=audit,
        counts=counts,
        policy=policy,
        sessions=sessions,
        clock=time.time,
        tls_not_after=_end_of(settings.server.tls_certificate),
        began=time.time(),
    )
    porter = Porter(
        sessions,
        _tokens(settings),
        may_act=users(settings.admin.may_act, "admin.may_act"),
        may_read=users(settings.admin.may_read, "admin.may_read"),
    )
    try:
        return Listener(Door(office, porter, place).app(), place, lambda address: announce(f"admin page on {address}"))
    except ssl.SSLError:
        raise SettingsError("admin.tls_certificate and admin.tls_key are no pair that TLS can use") from None


def _tokens(settings: Settings) -> Tokens | None:
    if not settings.admin.tokens:
        return None
    try:
        return Tokens(Path(settings.admin.tokens))
    except TokenError as error:
        raise SettingsError(f"admin.tokens: {error}") from None
    except FileNotFoundError:
        raise SettingsError("admin.tokens: no such file; `hsm-verifier admin token add NAME` makes it") from None


def _end_of(path: str) -> float | None:
    """Give when the first certificate of a chain ends."""
    with contextlib.suppress(OSError, ValueError):
        text = Path(path).read_text(encoding="ascii")
        end = "-----END CERTIFICATE-----\n"
        return float(show(text[: text.index(end) + len(end)]).not_after)
    return None
