"""Knows how to try a policy before it decides anything: the last decisions are judged again by it, from the audit."""

from __future__ import annotations

import argparse
import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hsm_verifier.admin.recent import read_line
from hsm_verifier.cli.common import CliError, settings_of, with_config
from hsm_verifier.cli.layout import columns
from hsm_verifier.policy_file import load_policy
from hsm_verifier.rehearse import Rehearsed, rehearse

SHOWN = 50  # changes listed one by one


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    commands = parser.add_subparsers(dest="action", required=True)
    words = "judge the last decisions again by NEW.toml; exit 1 when one would change; nothing is changed by trying"
    one = with_config(commands.add_parser("try", help=words, description=words))
    one.add_argument("new", type=Path, metavar="NEW.toml")
    one.add_argument("--last", type=int, default=1000, metavar="N", help="how many decisions (default 1000)")
    one.add_argument("--json", action="store_true")
    one.set_defaults(run=run_try)


def run_try(args: argparse.Namespace) -> int:
    """Print what would change, and what cannot be told."""
    if args.last < 1:
        raise CliError("--last wants a number of decisions", 64)
    policy = load_policy(args.new)
    lines: deque[Mapping[str, Any]] = deque(enrolments(Path(settings_of(args).state.audit)), maxlen=args.last)
    tried = [rehearse(line, policy) for line in lines]
    changed = [one for one in tried if one.changes]
    if args.json:
        print(json.dumps({"decisions": len(tried), "changes": [_as_json(one) for one in changed]} | _unknown(tried)))
    else:
        _say(args.new, tried, changed)
    return 1 if changed else 0


def enrolments(path: Path) -> Iterator[Mapping[str, Any]]:
    """Give the audit's enrolment lines, oldest first. Raises OSError."""
    with path.open(encoding="ascii", errors="backslashreplace") as file:
        for line in file:
            told = read_line(line)
            if told is not None and told.event == "enrolment":
                yield told.record


def _say(new: Path, tried: list[Rehearsed], changed: list[Rehearsed]) -> None:
    judged = [one for one in tried if one.after is not None]
    print(f"{new} against the last {len(tried)} decisions:")
    print(f"  {len(judged) - len(changed)} as before")
    print(f"  {len(changed)} would change")
    if len(judged) < len(tried):
        print(f"  {len(tried) - len(judged)} cannot be told: they ended before a policy was asked")
    if not changed:
        return
    rows = [("WHEN", "INSTANCE", "BEFORE", "AFTER")]
    rows += [
        (str(one.record.get("time", ""))[:16], str(one.record.get("instance", "")), str(one.before), str(one.after))
        for one in changed[-SHOWN:]
    ]
    print(columns(rows))
    if len(changed) > SHOWN:
        print(f"and {len(changed) - SHOWN} earlier ones (--json has all)")


def _as_json(one: Rehearsed) -> dict[str, Any]:
    after = one.after
    return {
        "decision": one.record.get("decision"),
        "instance": one.record.get("instance"),
        "time": one.record.get("time"),
        "before": {"group": one.before.group, "why": one.before.why},
        "after": {"group": after.group, "why": after.why} if after else None,
    }


def _unknown(tried: list[Rehearsed]) -> dict[str, Any]:
    """Count decisions that no policy was asked about, by the check that ended them."""
    ended = Counter(str(one.record.get("detail") or one.record.get("how")) for one in tried if one.after is None)
    return {"cannot_be_told": dict(sorted(ended.items()))}
