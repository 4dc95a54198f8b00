"""Knows how files get into a TLS context; one that cannot be read is named, which ssl itself does not do."""

from __future__ import annotations

import ssl
from pathlib import Path


def take_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Show this certificate, with this key. Raises OSError that names the file, ssl.SSLError when they are no pair."""
    _must_be_read(certificate)
    _must_be_read(key)
    context.load_cert_chain(certificate, key)


def take_roots(context: ssl.SSLContext, file: str) -> None:
    """Believe the CAs of this file. Raises OSError that names it, ssl.SSLError when it has no certificate."""
    _must_be_read(file)
    context.load_verify_locations(file)


def _must_be_read(path: str) -> None:
    with Path(path).open("rb") as file:
        file.read(1)
