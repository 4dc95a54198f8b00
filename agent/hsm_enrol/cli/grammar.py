"""Knows the whole command line, its help and its complaints."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence
from typing import NoReturn

import hsm_enrol
from hsm_enrol.cli import commands
from hsm_enrol.cli.commands import absolute
from hsm_enrol.errors import Usage
from hsm_enrol.words import DEFAULT_CONFIG, Words


class _Parser(argparse.ArgumentParser):
    """argparse, with its complaints as our errors."""

    def error(self, message: str) -> NoReturn:
        raise Usage(fault=message)


def read(argv: Sequence[str]) -> Words:
    """Read the words by the grammar of the one command that is named; by all of it when that does not do.

    Raises Usage; SystemExit(0) after help or version.
    """
    command = next((word for word in argv if word in commands.TABLE), "")
    if command and not {"-h", "--help"} & {*argv}:
        with contextlib.suppress(Usage):
            return parser(command).parse_args(argv, Words())
    return parser().parse_args(argv, Words())


def parser(only: str = "") -> argparse.ArgumentParser:
    """Give the command line's grammar: of all commands, or of the `only` one, which takes a tenth of the time."""
    top = _Parser(prog="hsm-enrol", description="Joins this EC2 instance to its Luna HSM group.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"hsm-enrol {hsm_enrol.__version__}")
    _global_options(top, default=True)
    places = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, (text, run, declare) in commands.TABLE.items():
        if only not in {"", name}:
            continue
        one = places.add_parser(name, help=text, description=text, allow_abbrev=False)
        _global_options(one, default=False)
        declare(one)
        one.set_defaults(run=run, command=name)
    return top


def _global_options(parser: argparse.ArgumentParser, *, default: bool) -> None:
    """Declare the options that stand before or after the command."""

    def fallback(value: object) -> object:
        return value if default else argparse.SUPPRESS

    parser.add_argument("--config", metavar="FILE", default=fallback(DEFAULT_CONFIG), help="settings file")
    parser.add_argument(
        "--root", metavar="DIR", type=absolute, default=fallback(""), help="prefix of every path on disk"
    )
    parser.add_argument("--json", action="store_true", default=fallback(False), help="print the result as JSON")  # noqa: FBT003
    parser.add_argument("-v", "--verbose", action="store_true", default=fallback(False), help="say more")  # noqa: FBT003
