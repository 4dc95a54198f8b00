"""Knows how to publish a bundle, list and show what is published, and let a halted PIN be tried again."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from cryptography import x509

from hsm_enrol.errors import WireError
from hsm_enrol.wire.bundle import MAX_BUNDLE, Bundle
from hsm_enrol.wire.strict import dump_json, parse_json
from hsm_verifier.cli.common import CliError, columns, note, open_store, open_vault, settings_of, when, with_config
from hsm_verifier.ledger import desk
from hsm_verifier.vault import Vault

NTLS_PORT = 1792


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    commands = parser.add_subparsers(dest="action", required=True)
    put = with_config(commands.add_parser("put", help="publish a bundle for a group; prints its serial"))
    put.add_argument("--group", required=True)
    put.add_argument("file", nargs="?", type=Path, help="bundle as JSON without serial; or give the parts:")
    put.add_argument("--client-name")
    put.add_argument("--certificate", type=Path, metavar="PEM")
    put.add_argument("--key", type=Path, metavar="PEM")
    put.add_argument("--server", action="append", default=[], metavar="ADDRESS[:PORT]=PEM")
    put.add_argument("--label")
    put.add_argument("--member", action="append", default=[], metavar="SERIAL")
    put.add_argument("--pin-file", type=Path, metavar="FILE", help="the partition PIN; - reads it from stdin")
    put.add_argument("--retry", type=int, help="tries to recover a member; left out: for ever")
    put.add_argument("--interval", type=int, default=60, help="seconds between them")
    put.add_argument("--not-only", action="store_true", help="leave the members' own slots visible")
    put.set_defaults(run=run_put)
    with_config(commands.add_parser("list", help="every group's bundles and PIN gates")).set_defaults(run=run_list)
    show = with_config(commands.add_parser("show", help="one bundle, secrets masked"))
    show.add_argument("--group", required=True)
    show.add_argument("--serial", type=int)
    show.set_defaults(run=run_show)
    resume = with_config(commands.add_parser("resume", help="let a halted PIN be tried again"))
    resume.add_argument("--group", required=True)
    resume.set_defaults(run=run_resume)


def run_put(args: argparse.Namespace) -> int:
    """Publish; the serial is the only thing on stdout."""
    settings = settings_of(args)
    vault = open_vault(settings)
    parts = _from_file(args.file) if args.file else _from_parts(args)
    try:
        _fill_pin_id(parts, vault, args.group)
        bundle = Bundle.from_bytes(dump_json(parts | {"schema": 1, "serial": 1}))
        serial = vault.put(args.group, bundle, time.time())
    except WireError as error:
        raise CliError(f"not published: {error.what} ({error.rule})", 65) from None
    note(settings, "bundle_put", group=args.group, serial=serial, pin_id=bundle.pin.id if bundle.pin else None)
    print(serial)
    return 0


def run_list(args: argparse.Namespace) -> int:
    """One line a bundle, newest last, then one line a PIN gate."""
    settings = settings_of(args)
    vault = open_vault(settings)
    rows = [("GROUP", "SERIAL", "PUBLISHED", "CLIENT", "EXPIRES", "HA GROUP", "MEMBERS", "PIN")]
    for group in vault.groups():
        for serial in vault.serials(group):
            bundle = Bundle.from_bytes(vault.read(group, serial))
            certificate = x509.load_pem_x509_certificate(bundle.client.certificate.encode())
            rows.append(
                (
                    group,
                    str(serial),
                    when(serial),
                    bundle.client.name,
                    when(certificate.not_valid_after_utc.timestamp()),
                    bundle.ha.label,
                    ",".join(bundle.ha.members),
                    bundle.pin.id if bundle.pin else "-",
                )
            )
    print(columns(rows))
    store = open_store(settings)
    gates = desk.list_gates(store)
    store.close()
    for gate in gates:
        trial = f", tried now by {gate.trial}" if gate.trial else ""
        print(f"PIN {gate.pin_id} on {gate.members}: {gate.state}{trial}")
    return 0


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
    """End HALTED for the PIN of a group's current bundle."""
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
    print(f"PIN {entry.gate.pin_id} may be tried again; two wrong tries halt it again")
    return 0


def _from_file(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    try:
        value = parse_json(data) if len(data) <= MAX_BUNDLE else None
    except WireError as error:
        raise CliError(f"{path}: not strict JSON ({error.what})", 65) from None
    if not isinstance(value, dict):
        raise CliError(f"{path}: not a bundle", 65)
    return value


def _from_parts(args: argparse.Namespace) -> dict[str, Any]:
    if not (args.client_name and args.certificate and args.key and args.server and args.label and args.member):
        raise CliError("give FILE, or all of --client-name --certificate --key --server --label --member", 64)
    parts: dict[str, Any] = {
        "client": {
            "name": args.client_name,
            "certificate": args.certificate.read_text(encoding="ascii"),
            "private_key": args.key.read_text(encoding="ascii"),
        },
        "servers": [_server(text) for text in args.server],
        "ha": {
            "label": args.label,
            "members": args.member,
            "only": not args.not_only,
            "interval": args.interval,
        },
    }
    if args.retry is not None:
        parts["ha"]["retry"] = args.retry
    if args.pin_file:
        text = sys.stdin.read() if str(args.pin_file) == "-" else args.pin_file.read_text(encoding="ascii")
        parts["partition_pin"] = {"value": text.removesuffix("\n").removesuffix("\r")}
    return parts


def _server(text: str) -> dict[str, Any]:
    where, equals, path = text.partition("=")
    if not equals:
        raise CliError("--server wants ADDRESS[:PORT]=PEM", 64)
    address, port = where, str(NTLS_PORT)
    if where.startswith("["):
        address, _, rest = where[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif where.count(":") == 1:
        address, _, port = where.partition(":")
    if not (port.isascii() and port.isdigit()):
        raise CliError("--server wants ADDRESS[:PORT]=PEM", 64)
    return {"address": address, "port": int(port), "certificate": Path(path).read_text(encoding="ascii")}


def _fill_pin_id(parts: dict[str, Any], vault: Vault, group: str) -> None:
    """Give the PIN its id: the one it had while it is unchanged, so that a proven PIN stays proven (V13)."""
    pin = parts.get("partition_pin")
    if not isinstance(pin, dict) or "id" in pin:
        return
    pin["id"] = secrets.token_urlsafe(12)
    before = vault.current(group)
    if before is not None and before.gate is not None:
        known = Bundle.from_bytes(vault.read(group, before.serial)).pin
        if known is not None and known.value == pin.get("value"):
            pin["id"] = known.id
