"""Knows how to let an instance be served once more, counted and dated (O6)."""

from __future__ import annotations

import argparse
import re

from hsm_enrol.wire.assertion import INSTANCE_ID
from hsm_enrol.wire.keys import THUMBPRINT
from hsm_verifier.cli.common import CliError, note, open_store, settings_of, when, with_config
from hsm_verifier.cli.layout import sentence
from hsm_verifier.ledger.desk import make_grant

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600}


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    with_config(parser)
    parser.add_argument("instance", metavar="INSTANCE")
    parser.add_argument("--count", type=int, default=1, help="how often (default 1)")
    parser.add_argument("--until", default="1h", metavar="SPAN", help="how long from now, at most 24h (default 1h)")
    parser.add_argument("--reason", required=True, help="for the audit")
    parser.add_argument("--owner", metavar="THUMBPRINT", help="only for this key; the agent prints it when refused")


def run(args: argparse.Namespace) -> int:
    """Write the grant down."""
    if not re.fullmatch(INSTANCE_ID, args.instance, re.ASCII):
        raise CliError(f"{args.instance!r} is no instance id", 64)
    if args.owner is not None and not re.fullmatch(THUMBPRINT, args.owner, re.ASCII):
        raise CliError("--owner wants the thumbprint that the agent printed", 64)
    settings = settings_of(args)
    store = open_store(settings)
    try:
        until = make_grant(
            store,
            args.instance,
            count=args.count,
            seconds=parse_span(args.until),
            reason=args.reason,
            owner=args.owner,
        )
    except ValueError as error:
        raise CliError(str(error), 64) from None
    finally:
        store.close()
    note(
        settings,
        "grant",
        instance=args.instance,
        count=args.count,
        until=when(until),
        why=args.reason,
        owner=args.owner,
    )
    print(sentence(f"{args.instance} may be served {args.count} more time(s) until {when(until)}"))
    return 0


def parse_span(text: str) -> float:
    """Give seconds of "90s", "30min", "2h". Raises CliError."""
    found = re.fullmatch(r"([0-9]{1,6})(s|m|min|h)", text, re.ASCII)
    if not found:
        raise CliError(f"{text!r} is no time span like 30min or 2h", 64)
    return float(int(found[1]) * _UNITS[found[2]])
