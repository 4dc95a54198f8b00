"""Knows how to gather a bundle's parts from files and options, and says of each which file is wrong and how."""

from __future__ import annotations

import argparse
import contextlib
import re
import secrets
import sys
from pathlib import Path
from typing import Any

from hsm_enrol.errors import WireError
from hsm_enrol.wire.bundle import CLIENT_NAME, MAX_BUNDLE, Bundle, Pin
from hsm_enrol.wire.certificate import common_names, read_certificate, unpem
from hsm_enrol.wire.strict import parse_json
from hsm_verifier.cli.common import CliError
from hsm_verifier.published import Bundles
from hsm_verifier.vault import VaultError

NTLS_PORT = 1792
MAX_FILE = 256 * 1024
KEYS = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\n[A-Za-z0-9+/=\n]+-----END \1-----\n")


def from_file(path: Path) -> dict[str, Any]:
    """Read a bundle in JSON, as `bundle show` prints it, but whole. Raises CliError."""
    data = path.read_bytes()
    try:
        value = parse_json(data) if len(data) <= MAX_BUNDLE else None
    except WireError as error:
        raise CliError(f"{path}: not strict JSON ({error.what})", 65) from None
    if not isinstance(value, dict):
        raise CliError(f"{path}: not a bundle", 65)
    return value


def from_options(args: argparse.Namespace) -> dict[str, Any]:
    """Read what `--certificate`, `--key`, `--server` and the others name. Raises CliError."""
    if not (args.certificate and args.key and args.server and args.label and args.member):
        raise CliError("give FILE, or all of --certificate --key --server --label --member", 64)
    twice = sorted({one for one in args.member if args.member.count(one) > 1})
    if twice:
        raise CliError(f"--member {twice[0]} is there twice", 64)
    parts: dict[str, Any] = {
        "client": client(args.certificate, args.key, args.client_name),
        "servers": [_server(text) for text in args.server],
        "ha": {"label": args.label, "members": args.member, "only": not args.not_only, "interval": args.interval},
    }
    if args.retry is not None:
        parts["ha"]["retry"] = args.retry
    if args.pin_file:
        parts["partition_pin"] = {"value": _pin(args.pin_file)}
    return parts


def _pin(path: Path) -> str:
    """Read a PIN, from stdin for "-"; what it holds is part of no fault. Raises CliError."""
    raw = sys.stdin.buffer.read(MAX_FILE) if str(path) == "-" else path.read_bytes()
    try:
        return raw.decode("ascii").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise CliError(f"{path}: a PIN has printable ASCII only", 65) from None


def client(certificate: Path, key: Path, name: str | None) -> dict[str, str]:
    """Give the client's part; without a name it is the certificate's common name, as Luna's client makes it."""
    pem = certificate_in(certificate)
    return {
        "name": name or _common_name(pem, certificate),
        "certificate": pem,
        "private_key": key_in(key),
    }


def certificate_in(path: Path) -> str:
    """Give the one certificate in a file, whatever text stands around it. Raises CliError."""
    blocks = [block for label, block in _blocks(path) if label == "CERTIFICATE"]
    if len(blocks) != 1:
        raise CliError(f"{path}: {len(blocks) or 'no'} certificates in it, one is wanted", 65)
    return blocks[0]


def key_in(path: Path) -> str:
    """Give the one private key in a file. Raises CliError; no text of the file is ever part of a fault."""
    blocks = _blocks(path)
    labels = [label for label, _ in blocks]
    if "ENCRYPTED PRIVATE KEY" in labels or "ENCRYPTED" in _read(path):
        raise CliError(f"{path}: the key is encrypted; an instance has nobody to type its passphrase", 65)
    keys = [block for label, block in blocks if label in KEYS]
    if len(keys) != 1:
        raise CliError(f"{path}: {len(keys) or 'no'} private keys in it, one is wanted", 65)
    return keys[0]


def before(bundles: Bundles, group: str) -> Bundle | None:
    """Give what the group has; None when it has nothing, or nothing that opens: then a new one is its way out."""
    serials = bundles.serials(group)
    try:
        return Bundle.from_bytes(bundles.read(group, serials[-1])) if serials else None
    except (VaultError, WireError) as error:
        print(f"what the group has cannot be compared: {error}", file=sys.stderr)
        return None


def fill_pin_id(parts: dict[str, Any], bundles: Bundles, old: Bundle | None) -> None:
    """Give the PIN its id: the one it had while it is unchanged, so that a proven PIN stays proven (V13).

    Where another group hands the same PIN out for the same partitions it is one PIN, with one gate: two tries, not two
    for each group. An id that came along is kept, unless another PIN has it: that one's proof would open the gate to
    all at once. Raises CliError.
    """
    pin = parts.get("partition_pin")
    if not isinstance(pin, dict):
        return
    known = old.pin if old is not None else None
    if "id" not in pin:
        if known is None or known.value != pin.get("value"):
            known = _pin_of_another_group(pin, parts.get("ha"), bundles)
        pin["id"] = secrets.token_urlsafe(12) if known is None else known.id
    elif known != Pin(id=pin["id"], value=pin.get("value", "")):
        _refuse_anothers_id(pin, bundles)


def _pin_of_another_group(pin: dict[str, Any], ha: Any, bundles: Bundles) -> Pin | None:
    members = ha.get("members") if isinstance(ha, dict) else None
    for group in bundles.groups():
        with contextlib.suppress(VaultError, WireError):
            found = Bundle.from_bytes(bundles.read(group, bundles.serials(group)[-1]))
            same = isinstance(members, list | tuple) and tuple(members) == found.ha.members
            if same and found.pin is not None and found.pin.value == pin.get("value"):
                return found.pin
    return None


def _refuse_anothers_id(pin: dict[str, Any], bundles: Bundles) -> None:
    for group in bundles.groups():
        for serial in bundles.serials(group):
            with contextlib.suppress(VaultError, WireError):  # one that does not open any more proves nothing
                found = Bundle.from_bytes(bundles.read(group, serial)).pin
                if found is not None and found.id == pin["id"] and found.value != pin.get("value"):
                    raise CliError(
                        f"partition_pin.id is that of another PIN, in bundle {group} {serial}: leave it out", 65
                    )


def _blocks(path: Path) -> list[tuple[str, str]]:
    return [(found[1], found[0]) for found in _BLOCK.finditer(_read(path) + "\n")]


def _read(path: Path) -> str:
    data = path.read_bytes()
    if len(data) > MAX_FILE:
        raise CliError(f"{path}: too large for a certificate or key", 65)
    return data.decode("latin-1").replace("\r\n", "\n")


def _common_name(pem: str, path: Path) -> str:
    block = unpem(pem)
    try:
        names = common_names(read_certificate(block[1] if block else b"").subject)
    except ValueError:
        raise CliError(f"{path}: not a certificate", 65) from None
    name = names[0] if len(names) == 1 else ""
    if not re.fullmatch(CLIENT_NAME, name, re.ASCII):
        raise CliError(f"{path}: its common name is no client name; give --client-name", 65)
    return name


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
    return {"address": address, "port": int(port), "certificate": certificate_in(Path(path))}
