"""Knows how to begin a ledger, show whom it says was served, end an instance, and what follows a restore."""

from __future__ import annotations

import argparse
import time

from hsm_verifier.admin.words import ago
from hsm_verifier.cli.common import (
    CliError,
    nonce_key_of,
    note,
    open_store,
    settings_of,
    unproven_store,
    when,
    with_config,
)
from hsm_verifier.cli.layout import columns, sentence
from hsm_verifier.ledger import desk, restored


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    commands = parser.add_subparsers(dest="action", required=True)
    create = with_config(commands.add_parser("create", help="make the tables in the database that state.ledger names"))
    create.set_defaults(run=run_create)
    listing = with_config(commands.add_parser("list", help="every slot, newest first"))
    listing.add_argument("--json", action="store_true", help="everything, for scripts")
    listing.add_argument("--wide", action="store_true", help="also level, times and owner key")
    listing.add_argument("--state", choices=("TAKEN", "CONFIRMED", "REVOKED"))
    listing.add_argument("--group")
    listing.add_argument("--overdue", action="store_true", help="only TAKEN for more than 7 days")
    listing.set_defaults(run=run_list)
    revoke = with_config(commands.add_parser("revoke", help="never serve this instance again"))
    revoke.add_argument("instance", metavar="INSTANCE")
    revoke.add_argument("--reason", required=True)
    revoke.set_defaults(run=run_revoke)
    mode = with_config(commands.add_parser("mode", help="open: newcomers are served; operator: only with a grant"))
    mode.add_argument("mode", nargs="?", choices=("open", "operator"))
    mode.set_defaults(run=run_mode)
    back = with_config(commands.add_parser("restored", help="say that a backup was restored, before serving again"))
    back.set_defaults(run=run_restored)


def run_create(args: argparse.Namespace) -> int:
    """Make an empty ledger for this verifier's audience."""
    settings = settings_of(args)
    store = unproven_store(settings)
    try:
        store.create(audience=settings.audience, nonce_key=nonce_key_of(settings))
    finally:
        store.close()
    note(settings, "ledger_create", ledger=str(store.url))
    print("made an empty ledger; it remembers nobody who was served before")
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Print slots; TAKEN for more than a week is marked."""
    store = open_store(settings_of(args))
    lines = desk.list_slots(store)
    store.close()
    lines = tuple(
        one
        for one in lines
        if args.state in {None, one.state} and args.group in {None, one.group} and (one.overdue or not args.overdue)
    )
    if args.json:
        print(desk.as_json(lines))
        return 0
    now = time.time()
    rows: list[tuple[str, ...]] = [("INSTANCE", "STATE", "GROUP", "SERIAL", "AGE", "LAST REPORT")]
    rows += [
        (
            one.instance_id,
            f"{one.state} (overdue)" if one.overdue else one.state,
            one.group,
            str(one.serial),
            ago(one.taken_at, now),
            " ".join(filter(None, (one.result, one.code))) or "-",
        )
        for one in lines
    ]
    if args.wide:
        more: list[tuple[str, ...]] = [("LEVEL", "TAKEN", "CONFIRMED", "OWNER")]
        more += [(one.level, when(one.taken_at), when(one.confirmed_at), one.owner) for one in lines]
        rows = [row + rest for row, rest in zip(rows, more, strict=True)]
    print(columns(rows))
    return 0


def run_revoke(args: argparse.Namespace) -> int:
    """Make all slots of an instance REVOKED."""
    settings = settings_of(args)
    store = open_store(settings)
    count = desk.revoke(store, args.instance)
    store.close()
    if not count:
        raise CliError(f"{args.instance} has no slot that is not revoked already")
    note(settings, "revoke", instance=args.instance, why=args.reason, slots=count)
    print(sentence(f"{args.instance} is revoked ({count} slots); what it holds stays valid until the HSM forgets it"))
    return 0


def run_mode(args: argparse.Namespace) -> int:
    """Show or set the mode (LG5)."""
    settings = settings_of(args)
    store = open_store(settings)
    if args.mode:
        store.set_mode(args.mode)
        note(settings, "ledger_mode", mode=args.mode)
    print(store.mode())
    store.close()
    return 0


def run_restored(args: argparse.Namespace) -> int:
    """LG5: newcomers need a grant from now on; older grants end, proven PINs are proven anew."""
    settings = settings_of(args)
    store = open_store(settings)
    restored.enter(store)
    store.close()
    note(settings, "restored_ledger", told_by="operator")
    print("operator mode: newcomers need a grant until `hsm-verifier ledger mode open`")
    return 0
