"""Knows how to start: everything is opened and checked before the first connection is accepted."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import random
import resource
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from hsm_enrol.errors import WireError
from hsm_verifier.admin.open import open_admin
from hsm_verifier.answer_keys import AnswerKeys
from hsm_verifier.aside import Aside, Threads, in_place
from hsm_verifier.audit import Audit, last_taken
from hsm_verifier.cli.common import CliError, nonce_key_of, open_store, open_vault, settings_of, with_config
from hsm_verifier.ledger import restored
from hsm_verifier.ledger.clerk import open_clerk
from hsm_verifier.ledger.store import Store
from hsm_verifier.limits import Buckets
from hsm_verifier.nonce import Nonces
from hsm_verifier.outside import open_documents, open_inventory, open_policy, open_sts
from hsm_verifier.ports import Policy
from hsm_verifier.scribe import Scribe
from hsm_verifier.server import serve, tls_context
from hsm_verifier.service import Service
from hsm_verifier.settings import ServerSettings, Settings, parse_listen
from hsm_verifier.sockets import listening_sockets
from hsm_verifier.vault import UNTIL_MENDED, VaultError
from hsm_verifier.world import World

ASKS_PER_MINUTE = 6  # V8
ADMIN_CONNECTIONS = 2  # as many as it has threads
COLLECT_AFTER = 20_000  # objects more than were freed; with Python's own 700 it was a thirtieth of the CPU
LOOKING = 8.0  # seconds in which a start begins to look at one more bundle
OTHER_FILES = 128  # open files besides connections and those of decisions

_log = logging.getLogger("hsm_verifier")


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    with_config(parser)
    parser.add_argument("--listen", metavar="HOST:PORT", help="in place of server.listen; port 0 takes any")
    parser.add_argument("--admin", metavar="PLACE", help="in place of admin.listen: HOST:PORT, unix:PATH, or empty")


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    settings = settings_of(args)
    if args.listen:
        settings = replace(settings, server=replace(settings.server, listen=args.listen))
    if args.admin is not None:
        settings = replace(settings, admin=replace(settings.admin, listen=args.admin))
    os.umask(0o077)
    allow_files(settings.server)
    audit = Audit(Path(settings.state.audit))
    asking = Threads(settings.server.workers, "ask")
    world = make_world(settings, asking)
    warn(world.policy)
    warn_of_bundles(world.policy, world.vault)
    guard_restore(world.store, audit, Path(settings.state.audit))
    try:
        context = tls_context(settings.server)
    except ssl.SSLError:
        raise CliError("server.tls_certificate and server.tls_key are no pair that TLS can use", 78) from None
    sockets = listening_sockets(*parse_listen(settings.server.listen))
    scribe = Scribe(audit)
    service = Service(world, scribe)
    audit.on_cut_off = service.counts.raise_alarm
    # Connections of its own: whoever looks at the fleet never waits for a decision, nor a decision for them.
    looking = open_store(settings, pool=ADMIN_CONNECTIONS)
    admin = open_admin(
        settings, store=looking, bundles=world.vault, audit=audit, counts=service.counts, policy=world.policy
    )
    audit.write("start", time.time(), audience=settings.audience)
    settle()
    serve(service, settings.server, context, sockets, beside=admin.run if admin else None, at_end=world.sts.close)
    for one in (asking, world.clerk, scribe):
        one.close()
    audit.write("stop", time.time())
    looking.close()
    world.store.close()
    return 0


def make_world(settings: Settings, aside: Aside = in_place) -> World:
    """Open all that decisions need; what takes time is done `aside`.

    Raises LedgerError, VaultError, OSError, WireError, CliError, and what outside.py raises.
    """
    store = open_store(settings, pool=settings.server.workers)
    return World(
        audience=settings.audience,
        policy=open_policy(settings),
        store=store,
        clerk=open_clerk(store, aside),
        vault=open_vault(settings, aside),
        nonces=Nonces(nonce_key_of(settings), settings.audience),
        keys=AnswerKeys.load(settings.state.answer_keys),
        sts=open_sts(settings),
        inventory=open_inventory(settings, aside),
        documents=open_documents(settings),
        asks=Buckets(ASKS_PER_MINUTE / 60, ASKS_PER_MINUTE, time.monotonic),
        clock=time.time,
        rng=random.SystemRandom(),
    )


def allow_files(settings: ServerSettings) -> None:
    """Have as many open files as `connections` may take and decisions need, or say that there are not so many.

    systemd's units allow them; a shell allows 1,024 until it is asked. With fewer, idle strangers that V1 lets in would
    leave no decision a file to open, and all would be `busy`.
    """
    wanted = settings.connections + 2 * settings.workers + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY in {soft, hard} or soft >= wanted:
        return
    if hard > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    if hard < wanted:
        _log.warning("%d files may be open, %d are wanted: allow more, or lower server.connections", hard, wanted)


def settle() -> None:
    """Take what is there by now out of the collector's sight, and have it look less often.

    A request leaves no cycles (tests/verifier/test_left_behind.py); what does are a client of AWS's or a statement that
    is made once. Looking through ninety thousand objects for them held everybody up for 70 ms (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


def warn(policy: Policy) -> None:
    """Say at every start which groups are served without proof that binds the asker's key."""
    for name in policy.names():
        if policy.group(name).level != "identity-role":
            _log.warning("group %s accepts evidence that does not bind the asker's key", name)


class Current(Protocol):
    """The bundles, as far as a start looks at them."""

    def current(self, group: str) -> object:
        """Give a group's newest bundle, opened. Raises VaultError, WireError."""


def warn_of_bundles(policy: Policy, bundles: Current, *, clock: Callable[[], float] = time.monotonic) -> None:
    """Say at every start which group's bundle does not open, as with another bundle key: all its askers would wait.

    A store that is away, or slow, is not waited for: the operators' page and each asker's alarm tell the rest.
    """
    until = clock() + LOOKING
    for name in sorted({policy.group(one).bundle_name for one in policy.names()}):
        if clock() >= until:
            return
        try:
            bundles.current(name)
        except VaultError as error:
            if error.again_in < UNTIL_MENDED:
                _log.warning("bundles were not looked at: %s", error)
                return
            _log.warning("the bundle of group %s cannot be used: %s", name, error)
        except WireError as error:
            _log.warning("the bundle of group %s cannot be used: %s (%s)", name, error.what, error.rule)


def guard_restore(store: Store, audit: Audit, path: Path) -> None:
    """LG5: an answer that the audit remembers and the ledger does not means that the ledger is an older copy."""
    witness = last_taken(path, store.opened_at()) if store.mode() == "open" else None
    if witness is None:
        return
    if restored.is_older(store, witness):
        restored.enter(store)
        audit.write("restored_ledger", time.time(), instance=witness.instance_id, serial=witness.serial, alarm=True)
        _log.warning("the ledger is older than the audit: newcomers need a grant until `hsm-verifier ledger mode open`")
    else:  # it may become one while we run, before we have taken anything
        store.remember(witness.instance_id, witness.serial, witness.owner)
