"""Knows how to show whom this verifier has served, to end an instance, and to leave operator mode after a restore."""

from __future__ import annotations

import argparse

from hsm_verifier.cli.common import CliError, columns, note, open_store, settings_of, when, with_config
from hsm_verifier.ledger import desk


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    commands = parser.add_subparsers(dest="action", required=True)
    listing = with_config(commands.add_parser("list", help="every slot, newest first"))
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(run=run_list)
    revoke = with_config(commands.add_parser("revoke", help="never serve this instance again"))
    revoke.add_argument("instance", metavar="INSTANCE")
    revoke.add_argument("--reason", required=True)
    revoke.set_defaults(run=run_revoke)
    mode = with_config(commands.add_parser("mode", help="open: newcomers are served; operator: only with a grant"))
    mode.add_argument("mode", nargs="?", choices=("open", "operator"))
    mode.set_defaults(run=run_mode)


def run_list(args: argparse.Namespace) -> int:
    """Print slots; TAKEN for more than a week is marked."""
    store = open_store(settings_of(args))
    lines = desk.list_slots(store)
    store.close()
    if args.json:
        print(desk.as_json(lines))
        return 0
    rows = [("INSTANCE", "SERIAL", "STATE", "GROUP", "LEVEL", "TAKEN", "CONFIRMED", "LAST REPORT", "OWNER")]
    for line in lines:
        report = " ".join(filter(None, (line.result, line.code))) or "-"
        rows.append(
            (
                line.instance_id,
                str(line.serial),
                f"{line.state} (overdue)" if line.overdue else line.state,
                line.group,
                line.level,
                when(line.taken_at),
                when(line.confirmed_at),
                report,
                line.owner,
            )
        )
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
    print(f"{args.instance} is revoked ({count} slots); what it holds stays valid until the HSM forgets it")
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
