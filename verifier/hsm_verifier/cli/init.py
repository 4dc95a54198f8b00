"""Knows how to begin: keys, ledger, audience, TLS and samples in one folder, asking nothing."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import socket
import time
from importlib import resources
from pathlib import Path

from hsm_enrol.wire.keys import generate_key, private_to_pem, public_to_pem
from hsm_verifier.cli.common import CliError, become_owner_of, note
from hsm_verifier.durable import fsync_folder, write_file
from hsm_verifier.ledger.store import Store, sqlite_url
from hsm_verifier.settings import load_settings
from hsm_verifier.tls import host_of, make_tls


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument(
        "--host", action="append", default=[], metavar="NAME_OR_IP", help="for the TLS certificate; may be repeated"
    )


def run(args: argparse.Namespace) -> int:
    """Make everything in DIR, then print the next three commands."""
    folder: Path = args.folder.absolute()
    become_owner_of(folder)
    if (folder / "hsm-verifier.toml").exists():
        raise CliError(f"{folder} holds a verifier already; nothing was changed")
    audience = f"hsm-enrol:{secrets.token_hex(16)}"
    nonce_key = os.urandom(32)
    answer_key = generate_key()
    try:
        given = [host_of(one) for one in args.host]
        hosts = tuple(dict.fromkeys(given or [socket.gethostname(), "localhost", "127.0.0.1"]))
        tls = make_tls(hosts, time.time())
    except ValueError:
        raise CliError("--host wants host names or IP addresses", 64) from None
    for name in (".", "secrets", "bundles", "aws-certs"):
        (folder / name).mkdir(mode=0o755 if name == "." else 0o700, parents=True, exist_ok=True)
    for name, content, mode in (
        ("secrets/answer-key-1.pem", private_to_pem(answer_key), 0o600),
        ("secrets/nonce.key", nonce_key, 0o600),
        ("secrets/bundle.key", os.urandom(32), 0o600),
        ("secrets/verifier-ca.key", tls.ca_key, 0o600),
        ("secrets/tls.key", tls.key, 0o600),
        ("tls.pem", tls.certificate, 0o644),
        ("verifier-ca.pem", tls.ca, 0o644),
        ("answer-key.pem", public_to_pem(answer_key.public_key()), 0o644),
        ("policy.toml", _sample("policy.toml"), 0o644),
    ):
        write_file(folder / name, content, mode=mode)
    store = Store(sqlite_url(folder / "ledger.sqlite"))
    store.create(audience=audience, nonce_key=nonce_key)
    store.close()
    # The settings file last: as long as it is missing, DIR is not a verifier and init may be run again elsewhere.
    text = _sample("hsm-verifier.toml").decode().replace("@AUDIENCE@", audience)
    text = text.replace("@LEDGER@", sqlite_url(folder / "ledger.sqlite"))
    write_file(folder / "hsm-verifier.toml", text.encode(), mode=0o644)
    fsync_folder(folder)
    note(load_settings(folder / "hsm-verifier.toml"), "init", audience=audience)
    _say(folder, audience, hosts)
    return 0


def _sample(name: str) -> bytes:
    return resources.files("hsm_verifier").joinpath("samples", name).read_bytes()


def _say(folder: Path, audience: str, hosts: tuple[str, ...]) -> None:
    place = shlex.quote(str(folder))
    config = shlex.quote(str(folder / "hsm-verifier.toml"))
    print(f"made a verifier in {folder} for {', '.join(hosts)}")
    print(f"each instance gets {folder}/verifier-ca.pem, {folder}/answer-key.pem and")
    print(f'  audience = "{audience}"')
    way = f"ssh -L 8444:{place}/admin.sock root@{shlex.quote(hosts[0])}"
    print(f"the operators' page: {way}, then http://localhost:8444/")
    print("next:")
    print(f"  $EDITOR {place}/policy.toml")
    print(f"  hsm-verifier bundle put --config {config} --group web bundle.json")
    print(f"  hsm-verifier serve --config {config}")
