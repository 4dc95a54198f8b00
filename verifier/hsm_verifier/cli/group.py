"""Knows how to show the policy's groups beside what is published for them."""

from __future__ import annotations

import argparse

from hsm_verifier.cli.common import open_vault, settings_of, with_config
from hsm_verifier.cli.layout import columns
from hsm_verifier.outside import open_policy


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    commands = parser.add_subparsers(dest="action", required=True)
    with_config(commands.add_parser("list", help="each group's rules in short")).set_defaults(run=run_list)


def run_list(args: argparse.Namespace) -> int:
    """One line a group."""
    settings = settings_of(args)
    policy, vault = open_policy(settings), open_vault(settings)
    rows = [("GROUP", "LEVEL", "KEMS", "LOST KEY", "GRANTS", "RELEASE GATE", "BUNDLE", "CURRENT SERIAL")]
    for name in policy.names():
        group, entry = policy.group(name), vault.current(policy.group(name).bundle_name)
        rows.append(
            (
                name,
                group.level,
                ",".join(group.kems),
                group.lost_key,
                group.grants,
                "on" if group.release_gate else "off",
                group.bundle_name,
                str(entry.serial) if entry else "nothing published",
            )
        )
    print(columns(rows))
    return 0
