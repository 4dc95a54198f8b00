"""Knows how to show audit lines so that a tired person reads them, and to prove that none was removed or altered."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from hsm_verifier.admin.recent import Told, matching, read_line
from hsm_verifier.audit import tail
from hsm_verifier.chain import AuditError, verify
from hsm_verifier.cli.common import CliError, paint, settings_of, when, with_config
from hsm_verifier.cli.layout import folded, sentence
from hsm_verifier.visible import visible

PAUSE = 0.25  # seconds between two looks with -f


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    commands = parser.add_subparsers(dest="action", required=True)
    last = with_config(commands.add_parser("tail", help="the newest lines, one each; oldest first"))
    last.add_argument("-n", "--lines", type=int, default=20)
    last.add_argument("-f", "--follow", action="store_true", help="and those to come, until Ctrl-C")
    last.add_argument("--json", action="store_true", help="as they stand in the file")
    last.set_defaults(run=run_tail)
    find = with_config(commands.add_parser("find", help="every line about a decision, request, instance or reason"))
    find.add_argument("word", metavar="WORD", help="the decision id that an instance printed, or an instance id, ...")
    find.add_argument("--json", action="store_true", help="as they stand in the file")
    find.set_defaults(run=run_find)
    check = with_config(commands.add_parser("verify", help="walk the chain; exit 1 at the first broken line"))
    check.add_argument("--expect", default="", metavar="HASH", help="a hash noted earlier that must be in the chain")
    check.set_defaults(run=run_verify)


def run_tail(args: argparse.Namespace) -> int:
    """Print the newest lines."""
    if args.lines < 0:
        raise CliError("--lines wants a number of lines, or 0", 64)
    path = Path(settings_of(args).state.audit)
    end = path.stat().st_size if path.exists() else 0
    for line in tail(path, args.lines, end):  # what comes meanwhile is for those who follow
        _show(line, raw=args.json)
    if args.follow:
        for line in _follow(path, end):
            _show(line, raw=args.json)
    return 0


def run_find(args: argparse.Namespace) -> int:
    """Print each line that names a word; exit 1 when there is none."""
    path = Path(settings_of(args).state.audit)
    found = 0
    with path.open(encoding="ascii", errors="backslashreplace") as file:
        for line in file:
            told = read_line(line)
            if told is not None and any(matching((told,), args.word)):
                found += 1
                _show(line.rstrip("\n"), raw=args.json)
    return 0 if found else 1


def run_verify(args: argparse.Namespace) -> int:
    """Print how many lines hold and the last hash, to be noted elsewhere."""
    try:
        head = verify(Path(settings_of(args).state.audit), args.expect)
    except AuditError as error:
        raise CliError(str(error)) from None
    print(sentence(f"{head.n} lines hold; the last one's hash is {head.hash}"))
    return 0


def words_of(told: Told) -> str:
    """Give one entry for people: when, what, how it ended, whom it was about, why, and where to look further."""
    why = f"{told.reason}: {told.why}" if told.reason and told.why else told.reason or told.why
    parts = (
        when(told.time),
        told.event,
        told.outcome,
        told.instance,
        told.name and f"({visible(told.name, 40)})",
        told.group and f"group {told.group}",
        why,
        told.source and f"from {told.source}",
        told.by and f"by {told.by}",
        told.decision and f"decision {told.decision}",
        "ALARM" if told.alarm else "",
    )
    return "\n".join(folded(visible(part, 160) for part in parts if part))


def _show(line: str, *, raw: bool) -> None:
    told = None if raw else read_line(line)
    if told is None:
        print(visible(line, len(line)), flush=True)
    else:
        print(paint(words_of(told), "31" if told.alarm else "33" if told.refused else "", sys.stdout), flush=True)


def _follow(path: Path, at: int) -> Iterator[str]:
    """Give whole lines as they are appended, also to the file that is begun when this one is put away."""
    inode = 0
    while True:
        if path.exists():
            with path.open("rb") as file:
                before, inode = inode, os.fstat(file.fileno()).st_ino
                at = at if before in {0, inode} else 0
                file.seek(at)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    at += len(line)
                    yield line.decode("ascii", "backslashreplace").rstrip("\n")
        time.sleep(PAUSE)
