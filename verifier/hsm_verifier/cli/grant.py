"""Knows how to let an instance be served once more, counted and dated (O6), and how to take that back."""

from __future__ import annotations

import argparse
import re

from hsm_enrol.wire.assertion import INSTANCE_ID
from hsm_enrol.wire.keys import THUMBPRINT
from hsm_verifier.cli.common import CliError, note, open_store, settings_of, when, with_config
from hsm_verifier.cli.layout import sentence
from hsm_verifier.ledger import desk
from hsm_verifier.settings import Settings

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600}


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    with_config(parser)
    parser.add_argument("instance", metavar="INSTANCE")
    parser.add_argument("--count", type=int, help="how often (default 1)")
    parser.add_argument("--until", metavar="SPAN", help="how long from now, at most 24h (default 1h)")
    parser.add_argument("--reason", required=True, help="for the audit")
    parser.add_argument("--owner", metavar="THUMBPRINT", help="only for this key; the agent prints it when refused")
    parser.add_argument("--withdraw", action="store_true", help="end all its grants that are still open")


def run(args: argparse.Namespace) -> int:
    """Write the grant down, or end those that are."""
    if not re.fullmatch(INSTANCE_ID, args.instance, re.ASCII):
        raise CliError(f"{args.instance!r} is no instance id", 64)
    if args.owner is not None and not re.fullmatch(THUMBPRINT, args.owner, re.ASCII):
        raise CliError("--owner wants the thumbprint that the agent printed", 64)
    if args.withdraw and (args.count, args.until, args.owner) != (None, None, None):
        raise CliError("--withdraw ends all grants of an instance; it takes no --count, --until or --owner", 64)
    if not args.reason.strip():
        raise CliError("--reason wants one, for the audit", 64)
    return (_withdraw if args.withdraw else _make)(args, settings_of(args))


def _make(args: argparse.Namespace, settings: Settings) -> int:
    count, span = 1 if args.count is None else args.count, parse_span("1h" if args.until is None else args.until)
    store = open_store(settings)
    try:
        others = desk.open_grants(store, args.instance)
        until = desk.make_grant(store, args.instance, count=count, seconds=span, reason=args.reason, owner=args.owner)
    except UnicodeEncodeError:
        raise
    except ValueError as error:
        raise CliError(str(error), 64) from None
    finally:
        store.close()
    note(settings, "grant", instance=args.instance, count=count, until=when(until), why=args.reason, owner=args.owner)
    print(sentence(f"{args.instance} may be served {count} more time(s) until {when(until)}"))
    if others:
        print(sentence(f"beside this grant {others} more of it {_are(others)} open; --withdraw ends all of them"))
    return 0


def _withdraw(args: argparse.Namespace, settings: Settings) -> int:
    store = open_store(settings)
    try:
        count = desk.withdraw(store, args.instance)
    finally:
        store.close()
    if not count:
        raise CliError(f"{args.instance} has no grant that is open")
    note(settings, "grant_withdrawn", instance=args.instance, why=args.reason, grants=count)
    print(sentence(f"{count} grant(s) of {args.instance} {_are(count)} withdrawn; what was given by them stays given"))
    return 0


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def parse_span(text: str) -> float:
    """Give seconds of "90s", "30min", "2h". Raises CliError."""
    found = re.fullmatch(r"([0-9]{1,6})(s|m|min|h)", text, re.ASCII)
    if not found:
        raise CliError(f"{text!r} is no time span like 30min or 2h", 64)
    return float(int(found[1]) * _UNITS[found[2]])
