"""Knows the command line: words in, one command run, exit status out; the only place that turns errors into lines."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import hsm_enrol
from hsm_enrol.cli.out import show_json
from hsm_enrol.errors import EnrolError, Internal, Usage
from hsm_enrol.host.voice import Voice, open_voice
from hsm_enrol.settings import DEFAULT_PATH

_PR_SET_DUMPABLE = 4


class _Parser(argparse.ArgumentParser):
    """argparse, with its complaints as our errors."""

    def error(self, message: str) -> NoReturn:
        raise Usage(fault=message)


def main(argv: Sequence[str]) -> int:
    """Run one command; give its exit status."""
    os.umask(0o077)
    leave_no_trace()
    voice = open_voice()
    as_json = "--json" in argv
    try:
        args = _parse(argv)
        voice.verbose = args.verbose
        return _run(args, voice)
    except EnrolError as error:
        return _fail(error, voice, as_json=as_json)
    except KeyboardInterrupt:
        return _fail(_bug("KeyboardInterrupt", None), voice, as_json=as_json)
    except Exception as error:  # noqa: BLE001  the edge: nothing of the exception but its kind and place is shown
        return _fail(_bug(type(error).__name__, error), voice, as_json=as_json)
    finally:
        voice.close()


def leave_no_trace() -> None:
    """A21: no core file of this process, and no other process of root's but a debugger's may read its memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _run(args: argparse.Namespace, voice: Voice) -> int:
    command: Callable[[argparse.Namespace, Voice], int] = args.run
    return command(args, voice)


def _fail(error: EnrolError, voice: Voice, *, as_json: bool) -> int:
    voice.fail(error)
    if as_json:
        show_json(error_as_json(error), status=error.status)
    return error.status


def error_as_json(error: EnrolError) -> dict[str, Any]:
    """Give what --json tells of a failure."""
    return {
        "reason": error.reason,
        "fault": error.fault(),
        "hint": error.advice(),
        "next": error.next_command(),
        "decision": error.decision,
        "message_id": error.message_id,
        "facts": error.facts,
    }


def _bug(kind: str, error: BaseException | None) -> Internal:
    """Name a bug by kind and place only: an exception's text may hold what must not be shown."""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    place = frames[-1] if frames else None
    where = f"{os.path.basename(place.filename)}:{place.lineno}" if place else "the command line"
    return Internal(kind=kind, where=where)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the words by the grammar of the one command that is named; by all of it when that does not do."""
    from hsm_enrol.cli import commands  # noqa: PLC0415  as in `parser`

    command = next((word for word in argv if word in commands.TABLE), "")
    if command and not {"-h", "--help"} & {*argv}:
        with contextlib.suppress(Usage):
            return parser(command).parse_args(argv)
    return parser().parse_args(argv)


def parser(only: str = "") -> argparse.ArgumentParser:
    """Give the command line's grammar: of all commands, or of the `only` one, which takes a tenth of the time."""
    from hsm_enrol.cli import commands  # noqa: PLC0415  the commands import what they need

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

    parser.add_argument("--config", metavar="FILE", default=fallback(DEFAULT_PATH), help="settings file")
    parser.add_argument("--root", metavar="DIR", default=fallback(""), help="prefix of every path on disk")
    parser.add_argument("--json", action="store_true", default=fallback(False), help="print the result as JSON")  # noqa: FBT003
    parser.add_argument("-v", "--verbose", action="store_true", default=fallback(False), help="say more")  # noqa: FBT003
