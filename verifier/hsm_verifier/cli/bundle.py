"""Knows how to publish a bundle, rotate its certificate, show what is published, and end a PIN's halt."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hsm_enrol.errors import WireError
from hsm_enrol.wire.bundle import Bundle, check_bundle
from hsm_enrol.wire.strict import dump_json
from hsm_verifier.cli import parts as gather
from hsm_verifier.cli.common import CliError, note, open_store, open_vault, settings_of, when, with_config
from hsm_verifier.cli.handout import tell
from hsm_verifier.cli.layout import columns, sentence
from hsm_verifier.ledger import desk
from hsm_verifier.outside import open_policy
from hsm_verifier.policy import PolicyError
from hsm_verifier.published import Published, publish
from hsm_verifier.settings import Settings
from hsm_verifier.vault import VaultError


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    commands = parser.add_subparsers(dest="action", required=True)
    put = _publishing(commands.add_parser("put", help="publish a bundle for a group; its serial alone on stdout"))
    put.add_argument("file", nargs="?", type=Path, help="bundle as JSON without serial; or give the parts:")
    put.add_argument("--certificate", type=Path, metavar="PEM")
    put.add_argument("--key", type=Path, metavar="PEM")
    put.add_argument("--client-name", help="default: the certificate's common name")
    put.add_argument("--server", action="append", default=[], metavar="ADDRESS[:PORT]=PEM")
    put.add_argument("--label")
    put.add_argument("--member", action="append", default=[], metavar="SERIAL")
    put.add_argument("--pin-file", type=Path, metavar="FILE", help="the partition PIN; - reads it from stdin")
    put.add_argument("--retry", type=int, help="tries to recover a member; left out: for ever")
    put.add_argument("--interval", type=int, default=60, help="seconds between them")
    put.add_argument("--not-only", action="store_true", help="leave the members' own slots visible")
    put.set_defaults(run=run_put)
    words = "publish the group's bundle again with a new client certificate and key; all else stays"
    rotate = _publishing(commands.add_parser("rotate", help=words))
    rotate.add_argument("--certificate", type=Path, metavar="PEM", required=True)
    rotate.add_argument("--key", type=Path, metavar="PEM", required=True)
    rotate.add_argument("--client-name", help="default: the one it has")
    rotate.set_defaults(run=run_rotate)
    listing = with_config(commands.add_parser("list", help="every group's bundles and PIN gates"))
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(run=run_list)
    show = with_config(commands.add_parser("show", help="one bundle, secrets masked"))
    show.add_argument("--group", required=True)
    show.add_argument("--serial", type=int)
    show.set_defaults(run=run_show)
    resume = with_config(commands.add_parser("resume", help="let a halted PIN be tried again"))
    resume.add_argument("--group", required=True)
    resume.set_defaults(run=run_resume)


def _publishing(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    with_config(parser)
    parser.add_argument("--group", required=True)
    parser.add_argument("--dry-run", action="store_true", help="check and show everything, publish nothing")
    return parser


def run_put(args: argparse.Namespace) -> int:
    """Publish what a file or options describe."""
    settings = settings_of(args)
    parts = gather.from_file(args.file) if args.file else gather.from_options(args)
    return _publish(settings, args, parts, "bundle_put")


def run_rotate(args: argparse.Namespace) -> int:
    """Publish the current bundle with another client pair."""
    settings = settings_of(args)
    vault = open_vault(settings)
    entry = vault.current(args.group)
    if entry is None:
        raise CliError(f"nothing was published for group {args.group}")
    parts: dict[str, Any] = json.loads(vault.read(args.group, entry.serial))
    old = parts["client"]
    parts["client"] = gather.client(args.certificate, args.key, args.client_name or old["name"])
    if parts["client"]["certificate"] == old["certificate"]:
        raise CliError(f"{args.certificate}: the group has this certificate already", 65)
    status = _publish(settings, args, parts, "bundle_rotate")
    print("each appliance must know the new certificate before the first instance asks", file=sys.stderr)
    return status


def _publish(settings: Settings, args: argparse.Namespace, parts: dict[str, Any], event: str) -> int:
    """Check, show on stderr, publish; the serial is the only thing on stdout."""
    vault, now = open_vault(settings), time.time()
    before = gather.before(vault, args.group)
    try:
        gather.fill_pin_id(parts, vault, before)
        bundle = Bundle.from_bytes(dump_json(parts | {"schema": 1, "serial": 1}))
        check_bundle(bundle, int(now))
        tell(publish(args.group, bundle), publish(args.group, before) if before else None, now)
        _warn_of_nobody(settings, args.group)
        if args.dry_run:
            print("nothing was published (--dry-run)", file=sys.stderr)
            return 0
        serial = vault.put(args.group, bundle, now)
    except WireError as error:
        raise CliError(f"not published: {error.what} ({error.rule})", 65) from None
    note(settings, event, group=args.group, serial=serial, pin_id=bundle.pin.id if bundle.pin else None)
    print(serial)
    return 0


def _warn_of_nobody(settings: Settings, name: str) -> None:
    """Say on stderr when no instance can get bundles of this name: a slip, or the policy comes after the bundle."""
    try:
        policy = open_policy(settings)
    except PolicyError as error:
        print(f"warning: {error}", file=sys.stderr)
        return
    names = sorted({policy.group(one).bundle_name for one in policy.names()})
    if name not in names:
        words = f"warning: no group of the policy hands this out; those that do have the names: {', '.join(names)}"
        print(words, file=sys.stderr)


def run_list(args: argparse.Namespace) -> int:
    """One line a bundle, newest last, then one line a PIN gate; what does not open is told apart, with status 69."""
    settings = settings_of(args)
    vault = open_vault(settings)
    found: list[Published] = []
    broken = 0
    for group in vault.groups():
        for serial in vault.serials(group):
            try:
                found.append(publish(group, Bundle.from_bytes(vault.read(group, serial))))
            except (VaultError, WireError) as error:
                broken += 1
                print(f"hsm-verifier: {error}", file=sys.stderr)
    store = open_store(settings)
    gates = desk.list_gates(store)
    store.close()
    if args.json:
        print(json.dumps({"bundles": [asdict(one) for one in found], "gates": [asdict(one) for one in gates]}))
        return 69 if broken else 0
    rows = [("GROUP", "SERIAL", "PUBLISHED", "CLIENT", "EXPIRES", "HA GROUP", "MEMBERS", "PIN")]
    rows += [
        (
            one.group,
            str(one.serial),
            when(one.serial),
            one.client,
            when(one.first_expiry),
            one.label,
            ",".join(one.members),
            one.pin_id or "-",
        )
        for one in found
    ]
    print(columns(rows))
    for gate in gates:
        trial = f", tried now by {gate.trial}" if gate.trial else ""
        print(sentence(f"PIN {gate.pin_id} on {gate.members}: {gate.state}{trial}"))
    return 69 if broken else 0


def run_show(args: argparse.Namespace) -> int:
    """Print a bundle as JSON without private key and PIN."""
    vault = open_vault(settings_of(args))
    serials = vault.serials(args.group)
    if not serials:
        raise CliError(f"nothing was published for group {args.group}")
    shown: dict[str, Any] = json.loads(vault.read(args.group, args.serial or serials[-1]))
    shown["client"]["private_key"] = "(masked)"
    if "partition_pin" in shown:
        shown["partition_pin"]["value"] = "(masked)"
    print(json.dumps(shown, indent=2, sort_keys=True))
    return 0


def run_resume(args: argparse.Namespace) -> int:
    """V13: end HALTED for the PIN of a group's current bundle."""
    settings = settings_of(args)
    entry = open_vault(settings).current(args.group)
    if entry is None or entry.gate is None:
        raise CliError(f"group {args.group} has no bundle with a PIN")
    store = open_store(settings)
    count = desk.resume_gate(store, entry.gate.pin_id)
    store.close()
    if not count:
        raise CliError(f"PIN {entry.gate.pin_id} is not halted")
    note(settings, "bundle_resume", group=args.group, pin_id=entry.gate.pin_id)
    print(sentence(f"PIN {entry.gate.pin_id} may be tried again; two wrong tries halt it again"))
    return 0
