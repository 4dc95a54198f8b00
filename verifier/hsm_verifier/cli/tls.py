"""Knows how to give this verifier's TLS key another certificate by the CA that `init` made: more names, a later end.

The key stays: one file changes, in one step, and who holds the key in other ways (encrypted credentials) goes on. A key
that others know wants another CA, because nobody asks this one what it has revoked.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from hsm_enrol.errors import WireError
from hsm_enrol.wire.keys import private_from_pem
from hsm_verifier.cli.common import CliError, become_verifier, note, when, with_config
from hsm_verifier.cli.layout import sentence
from hsm_verifier.durable import read_secret, write_file
from hsm_verifier.settings import load_settings
from hsm_verifier.tls import host_of, hosts_of, issue


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    commands = parser.add_subparsers(dest="action", required=True)
    one = with_config(commands.add_parser("issue", help="a certificate for the names it has, and more"))
    one.add_argument("--host", action="append", default=[], metavar="NAME_OR_IP", help="one more; may be repeated")
    one.add_argument("--without", action="append", default=[], metavar="NAME_OR_IP", help="one less; may be repeated")
    one.add_argument("--ca-key", type=Path, metavar="FILE", help="default: secrets/verifier-ca.key beside the settings")
    one.set_defaults(run=run_issue)


def run_issue(args: argparse.Namespace) -> int:
    """Replace server.tls_certificate."""
    settings = load_settings(args.config)
    folder, place = settings.path.parent, Path(settings.server.tls_certificate)
    present, ca = _certificate(place), _certificate(folder / "verifier-ca.pem")
    public = present.public_key()
    try:
        present.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        raise CliError(f"{place} is not by the CA in {folder}/verifier-ca.pem: renew it where it is from") from None
    ca_key = _key(args.ca_key or folder / "secrets/verifier-ca.key")
    if ca_key.public_key() != ca.public_key() or not isinstance(public, ec.EllipticCurvePublicKey):
        raise CliError(f"that is not the key of {folder}/verifier-ca.pem", 78)
    hosts = _hosts(hosts_of(present), tuple(args.host), tuple(args.without))
    try:
        made = issue(ca, ca_key, public, hosts, time.time())
    except ValueError:
        raise CliError(f"the CA in {folder}/verifier-ca.pem has ended; instances want a new one", 78) from None
    # A CA's key that is kept elsewhere is root's to read, all else the verifier's to write.
    become_verifier(settings)
    write_file(place, made, mode=0o644, replace=True)
    end = when(x509.load_pem_x509_certificate(made).not_valid_after_utc.timestamp())
    note(settings, "tls_issued", hosts=list(hosts), until=end)
    print(sentence(f"{place.name} is for {', '.join(hosts)} until {end}; restart hsm-verifier. Instances need nothing"))
    return 0


def _hosts(now: tuple[str, ...], more: tuple[str, ...], without: tuple[str, ...]) -> tuple[str, ...]:
    try:
        more = tuple(host_of(one) for one in more)
        less = {one if one in now else host_of(one) for one in without}
    except ValueError:
        raise CliError("--host and --without want host names or IP addresses", 64) from None
    unknown = sorted(less - {*now})
    if unknown:
        raise CliError(f"the certificate has no {unknown[0]}, only {', '.join(now)}", 64)
    hosts = tuple(one for one in dict.fromkeys((*now, *more)) if one not in less)
    if not hosts:
        raise CliError("a certificate without a name is good for nobody", 64)
    return hosts


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        raise CliError(f"{path} holds no certificate", 78) from None


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        return private_from_pem(read_secret(path))
    except WireError:
        raise CliError(f"{path} holds no P-256 private key", 78) from None
