"""Knows what every command shares: where the settings are, how a fault is told, who is at the keyboard."""

from __future__ import annotations

import argparse
import getpass
import os
import pwd
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from hsm_verifier.aside import Aside, in_place
from hsm_verifier.audit import Audit, Fact
from hsm_verifier.durable import read_secret
from hsm_verifier.ledger.store import Store
from hsm_verifier.openbao import OpenBao
from hsm_verifier.settings import Settings, load_settings
from hsm_verifier.vault import Bundles, Vault
from hsm_verifier.vault_kv import KvAside, KvVault

DEFAULT_CONFIG = "/var/lib/hsm-verifier/hsm-verifier.toml"  # where the package's unit has them


class CliError(Exception):
    """A command cannot be done: one line for the operator, and the exit status (sysexits)."""

    def __init__(self, text: str, status: int = 1) -> None:
        """Take the line without prefix or full stop."""
        super().__init__(text)
        self.status = status


def with_config(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Declare --config."""
    parser.add_argument("--config", type=Path, default=Path(DEFAULT_CONFIG), metavar="FILE", help="hsm-verifier.toml")
    return parser


def settings_of(args: argparse.Namespace) -> Settings:
    """Read the settings that --config names, and go on as the verifier's user. Raises SettingsError, OSError."""
    settings = load_settings(args.config)
    become_verifier(settings)
    return settings


def become_verifier(settings: Settings) -> None:
    """Let root go on as whoever can write these settings, else as the audit's folder's owner. Raises OSError.

    The settings first: root would otherwise write wherever the verifier's user makes them point to.
    """
    for folder in (settings.path.parent, Path(settings.state.audit).parent):
        become_owner_of(folder)


def become_owner_of(folder: Path) -> None:
    """Let root go on as the owner of this folder: what root made there, the server could not read. Raises OSError."""
    if os.geteuid() or not folder.exists() or not (there := folder.stat()).st_uid:
        return
    try:
        os.initgroups(pwd.getpwuid(there.st_uid).pw_name, there.st_gid)
    except KeyError:  # no such user in the password file
        os.setgroups([])
    os.setgid(there.st_gid)
    os.setuid(there.st_uid)


def open_store(settings: Settings, *, pool: int = 2) -> Store:
    """Open the ledger and prove it ours (LG3). Raises LedgerError, OSError, CliError."""
    store = unproven_store(settings, pool=pool)
    try:
        store.prove_ours(audience=settings.audience, nonce_key=nonce_key_of(settings))
    except BaseException:
        store.close()
        raise
    return store


def unproven_store(settings: Settings, *, pool: int = 2) -> Store:
    """Open the database that is or will be the ledger. Raises LedgerError, OSError, CliError."""
    state = settings.state
    try:
        password = read_secret(Path(state.ledger_password)).decode().rstrip("\r\n") if state.ledger_password else ""
    except UnicodeDecodeError:
        raise CliError(f"{state.ledger_password} is no UTF-8", 78) from None
    return Store(state.ledger, password=password, pool=pool)


def nonce_key_of(settings: Settings) -> bytes:
    """Read the nonce key. Raises OSError, CliError."""
    return _key_of(settings.state.nonce_key)


def _key_of(path: str) -> bytes:
    key = read_secret(Path(path))
    if len(key) != 32:  # noqa: PLR2004  bytes of HMAC-SHA256's key, and of AES-256's
        raise CliError(f"{path} must hold 32 bytes", 78)
    return key


def open_vault(settings: Settings, aside: Aside = in_place) -> Bundles:
    """Open the bundles, wherever the settings say that they rest. Raises OSError, CliError."""
    if settings.openbao.url:
        return KvVault(KvAside(OpenBao(settings.openbao), aside))
    return Vault(Path(settings.state.bundles), _key_of(settings.state.bundle_key))


def note(settings: Settings, event: str, **facts: Fact) -> None:
    """Write an operator's act into the audit, with who did it. Raises CliError, which says that it was done."""
    try:
        Audit(Path(settings.state.audit)).write(event, time.time(), by=operator(), **facts)
    except OSError as error:
        words = f"{event} was done, but the audit could not be written ({error.strerror or error})"
        raise CliError(f"{words}; tell whoever keeps it", 74) from None


def operator() -> str:
    """Give the login name of whoever runs this, also behind sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):  # no such user in the password file
        return str(os.getuid())


def when(seconds: float | None) -> str:
    """Give a time for people, in UTC."""
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def paint(text: str, colour: str, stream: TextIO) -> str:
    """Colour each line (an SGR number) on a terminal whose owner did not say NO_COLOR (no-color.org)."""
    if not colour or os.environ.get("NO_COLOR") or not stream.isatty():
        return text
    return "\n".join(f"\x1b[{colour}m{line}\x1b[0m" for line in text.split("\n"))
