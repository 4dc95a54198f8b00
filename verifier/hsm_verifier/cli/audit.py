"""Knows how to show the newest audit lines and to prove that none was removed or altered."""

from __future__ import annotations

import argparse
from pathlib import Path

from hsm_verifier.audit import AuditError, tail, verify
from hsm_verifier.cli.common import CliError, settings_of, with_config


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    commands = parser.add_subparsers(dest="action", required=True)
    last = with_config(commands.add_parser("tail", help="the newest decisions, one JSON line each"))
    last.add_argument("-n", "--lines", type=int, default=20)
    last.set_defaults(run=run_tail)
    check = with_config(commands.add_parser("verify", help="walk the chain; exit 1 at the first broken line"))
    check.add_argument("--expect", default="", metavar="HASH", help="a hash noted earlier that must be in the chain")
    check.set_defaults(run=run_verify)


def run_tail(args: argparse.Namespace) -> int:
    """Print lines as they stand."""
    for line in tail(Path(settings_of(args).state.audit), args.lines):
        print(line)
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """Print how many lines hold and the last hash, to be noted elsewhere."""
    try:
        head = verify(Path(settings_of(args).state.audit), args.expect)
    except AuditError as error:
        raise CliError(str(error)) from None
    print(f"{head.n} lines hold; the last one's hash is {head.hash}")
    return 0
