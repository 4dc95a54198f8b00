"""Knows how to explain what an instance would get, from which group, and what stands in its way in the others."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsm_enrol.wire.seal import KEMS
from hsm_verifier.cli.common import CliError, open_vault, settings_of, with_config
from hsm_verifier.decide import bundle_of
from hsm_verifier.facts_file import FactsError, Supposed, load_facts
from hsm_verifier.outside import open_policy
from hsm_verifier.policy import LEVELS, Examined, Policy
from hsm_verifier.policy_file import load_policy
from hsm_verifier.refusal import Refusal
from hsm_verifier.request_checks import check_evidence, check_kem
from hsm_verifier.vault import Bundles, VaultError

FORBIDDEN_STATES = ("shutting-down", "stopping", "stopped", "terminated")


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    with_config(parser)
    parser.add_argument("facts", type=Path, metavar="FACTS", help="output of aws ec2 describe-instances, or TOML")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="this policy, without settings or bundles")
    parser.add_argument("--account", default="", help="of instances whose reservation names no owner")
    parser.add_argument("--role", help="of the instance profile; DescribeInstances does not name it")
    parser.add_argument("--source", default="", metavar="ADDRESS", help="where the request comes from")
    parser.add_argument("--level", choices=LEVELS, default=LEVELS[-1], help="evidence that is shown")
    parser.add_argument("--iid", action="store_true", help="a valid identity document is sent")
    parser.add_argument("--kem", choices=KEMS, default=KEMS[0])
    parser.add_argument("--known", action="store_true", help="served before: source and windows are only observed")
    parser.add_argument("--json", action="store_true")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one instance: every group of its account and region, and the one that serves it."""

    supposed: Supposed
    examined: tuple[Examined, ...]
    reason: str
    detail: str
    serial: int | None

    @property
    def served_by(self) -> Examined | None:
        """Give the first group that admits it, whether or not it then gets an answer."""
        return next((one for one in self.examined if one.admits), None)


def run(args: argparse.Namespace) -> int:
    """Explain each instance; 0 when all would be served."""
    bundles: Bundles | None = None
    if args.policy:
        policy = load_policy(args.policy)
    else:
        settings = settings_of(args)
        policy, bundles = open_policy(settings), open_vault(settings)
    try:
        supposed = load_facts(args.facts, now=time.time(), role=args.role, account=args.account)
    except FactsError as error:
        raise CliError(str(error), 65) from None
    if not supposed:
        raise CliError(f"{args.facts}: no instance in it", 65)
    outcomes = [examine(one, policy, bundles, args) for one in supposed]
    if args.json:
        print(json.dumps([as_json(one) for one in outcomes], indent=2))
    else:
        print("\n\n".join(as_text(one) for one in outcomes))
    return 0 if all(not one.reason for one in outcomes) else 1


def examine(supposed: Supposed, policy: Policy, bundles: Bundles | None, args: argparse.Namespace) -> Outcome:
    """Judge as the server does: V4, V9's state, V10 to V12, then what the group demands and has."""
    claims, facts = supposed.claims, supposed.facts
    examined = policy.examine(
        claims,
        facts,
        source=args.source or facts.private_ip or "",
        now=time.time(),
        first_time=not args.known,
    )
    served_by = next((one.group for one in examined if one.admits), None)
    lowest = policy.lowest_level(claims.account_id, claims.region)
    reason, detail, serial = "", "", None
    if lowest is None:
        reason, detail = "evidence_invalid", "V4 account_or_region"
    elif LEVELS.index(args.level) < LEVELS.index(lowest):
        reason, detail = "evidence_missing", f"V4 {args.level}_below_{lowest}"
    elif facts.state in FORBIDDEN_STATES:
        reason, detail = "not_admitted", f"V9 state_{facts.state.replace('-', '_')}"
    elif served_by is None:
        reason, detail = "not_admitted", "V10 no_group"
    else:
        try:
            check_evidence(served_by, args.level, document=args.iid)
            check_kem(served_by, args.kem)
            serial = bundle_of(served_by.bundle_name, bundles).serial if bundles else None
        except Refusal as refusal:
            reason, detail = refusal.reason, refusal.detail
        except VaultError as error:
            reason, detail = "upstream_busy", f"V14 {error}"
    return Outcome(supposed=supposed, examined=examined, reason=reason, detail=detail, serial=serial)


def as_text(outcome: Outcome) -> str:
    """Write it for people: each group with what differs, then the verdict."""
    facts = outcome.supposed.facts
    lines = [f"{facts.instance_id} in {facts.account} {facts.region}"]
    if facts.profile_arn and facts.role is None:
        lines.append(f"its role is not known: name the one of {facts.profile_arn} with --role")
    for one in outcome.examined:
        lines.append(f"group {one.group.name}: {'admits it' if one.admits else 'no'}")
        lines += [f"  {item}: {item.found or '-'}, wanted {item.wanted or '-'}" for item in one.mismatches]
    served_by = outcome.served_by
    if outcome.reason or served_by is None:
        lines.append(f"refused: {outcome.reason} ({outcome.detail})")
        return "\n".join(lines)
    group = served_by.group
    lines.append(f"served by group {group.name}: bundle {group.bundle_name}{_serial(outcome)}")
    lines.append(
        f"  lost key: {group.lost_key}; grants: {group.grants}; release gate: {'on' if group.release_gate else 'off'}"
    )
    if group.level != LEVELS[-1]:
        lines.append(f"  an alarm each time: evidence {group.level} does not bind the asker's key")
    return "\n".join(lines)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Give it for scripts."""
    served_by = None if outcome.reason or outcome.served_by is None else outcome.served_by.group
    return {
        "instance": outcome.supposed.facts.instance_id,
        "groups": [
            {
                "group": one.group.name,
                "admits": one.admits,
                "mismatches": [
                    {
                        "check": item.check,
                        "what": item.what,
                        "enforced": item.enforced,
                        "found": item.found,
                        "wanted": item.wanted,
                    }
                    for item in one.mismatches
                ],
            }
            for one in outcome.examined
        ],
        "served_by": served_by.name if served_by else None,
        "bundle": served_by.bundle_name if served_by else None,
        "serial": outcome.serial,
        "reason": outcome.reason or None,
        "detail": outcome.detail or None,
    }


def _serial(outcome: Outcome) -> str:
    return "" if outcome.serial is None else f", serial {outcome.serial}"
