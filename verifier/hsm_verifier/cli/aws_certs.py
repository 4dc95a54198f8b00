"""Knows how to take AWS's regional certificates out of the EC2 guide's text, for a person to compare and pin."""

from __future__ import annotations

import argparse
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from hsm_verifier.cli.common import CliError, note, settings_of, with_config
from hsm_verifier.cli.layout import columns
from hsm_verifier.durable import write_file
from hsm_verifier.evidence.certs import CertificateError, fingerprint, import_text, load_folder


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    commands = parser.add_subparsers(dest="action", required=True)
    take = with_config(commands.add_parser("import", help="read them from a saved page; prints fingerprints"))
    take.add_argument("file", type=Path, metavar="FILE")
    take.add_argument("--replace", action="store_true", help="also where another certificate is pinned already")
    take.set_defaults(run=run_import)
    with_config(commands.add_parser("list", help="regions and fingerprints")).set_defaults(run=run_list)


def run_import(args: argparse.Namespace) -> int:
    """Write REGION.pem each, print regions and fingerprints."""
    settings = settings_of(args)
    folder = Path(settings.state.aws_certs)
    here = load_folder(folder)
    try:
        found = import_text(args.file.read_text(encoding="utf-8"))
    except (CertificateError, UnicodeDecodeError) as error:
        raise CliError(f"{args.file}: {error}", 65) from None
    if not found:
        raise CliError(f"{args.file}: no RSA certificate of 2048 bits or more in it", 65)
    changed = sorted(region for region, one in found.items() if here.get(region, one) != one)
    if changed and not args.replace:
        raise CliError(f"another certificate is pinned for {', '.join(changed)}; compare, then use --replace", 65)
    rows = [("REGION", "SHA-256 FINGERPRINT")]
    for region, certificate in sorted(found.items()):
        write_file(folder / f"{region}.pem", certificate.public_bytes(Encoding.PEM), mode=0o644, replace=True)
        note(settings, "aws_cert_pinned", region=region, fingerprint=fingerprint(certificate))
        rows.append((region, fingerprint(certificate)))
    print(columns(rows))
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Print what is pinned."""
    pinned = load_folder(Path(settings_of(args).state.aws_certs))
    print(columns([("REGION", "SHA-256 FINGERPRINT"), *((name, fingerprint(one)) for name, one in pinned.items())]))
    return 0
