"""Knows how to make, list and take back operators' tokens for the page (admin.tokens)."""

from __future__ import annotations

import argparse
from pathlib import Path

from hsm_verifier.admin.tokens import TokenError, add_token, read_tokens, remove_token
from hsm_verifier.cli.common import CliError, note, settings_of, with_config
from hsm_verifier.cli.layout import columns
from hsm_verifier.settings import Settings


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    commands = parser.add_subparsers(dest="action", required=True)
    token = commands.add_parser("token", help="who may sign in to the page or read /metrics")
    actions = token.add_subparsers(dest="token_action", required=True)
    one = with_config(actions.add_parser("add", help="make a token; it is shown this once"))
    one.add_argument("name", metavar="NAME")
    one.add_argument("--read", action="store_true", help="may read and may not act, for a monitoring system")
    one.set_defaults(run=run_add)
    with_config(actions.add_parser("list", help="names and what each may do")).set_defaults(run=run_list)
    gone = with_config(actions.add_parser("remove", help="take a token back; its sessions end at once"))
    gone.add_argument("name", metavar="NAME")
    gone.set_defaults(run=run_remove)


def run_add(args: argparse.Namespace) -> int:
    """Print the token, alone on stdout."""
    settings = settings_of(args)
    role = "read" if args.read else "act"
    try:
        token = add_token(_place(settings), args.name, role)
    except TokenError as error:
        raise CliError(str(error), 64) from None
    note(settings, "admin_token_added", name=args.name, role=role)
    print(token)
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Print names and roles."""
    path = _place(settings_of(args))
    try:
        known = read_tokens(path) if path.exists() else ()
    except TokenError as error:
        raise CliError(str(error), 78) from None
    print(columns([("NAME", "MAY"), *((name, role) for name, role, _ in known)]))
    return 0


def run_remove(args: argparse.Namespace) -> int:
    """Take one back."""
    settings = settings_of(args)
    try:
        found = remove_token(_place(settings), args.name)
    except TokenError as error:
        raise CliError(str(error), 78) from None
    if not found:
        raise CliError(f"{args.name} has no token")
    note(settings, "admin_token_removed", name=args.name)
    print(f"{args.name} can no longer sign in")
    return 0


def _place(settings: Settings) -> Path:
    if not settings.admin.tokens:
        raise CliError(f'{settings.path}: [admin] has no tokens; write: tokens = "secrets/admin-tokens"', 78)
    return Path(settings.admin.tokens)
