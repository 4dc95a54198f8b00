"""Knows the CA file: certificates in PEM, one behind the other; ours come and go, all else stays in its order.

Of two self-signed certificates with one subject in a CA file OpenSSL uses only the first, so an old and a new one of
the same appliance must never lie side by side.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hsm_enrol.errors import SubjectConflict
from hsm_enrol.model import Server, der_of
from hsm_enrol.wire.certificate import read_certificate

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----\r?\n?")


def with_certificates(
    content: bytes, path: str, wanted: Sequence[Server], former: Sequence[Server], foreign: frozenset[bytes | None]
) -> bytes:
    """Give the file's bytes with every wanted certificate in it and none of ours that is superseded.

    `former` are the servers that an earlier run put here, `foreign` the DER of certificates of other registered
    servers. Raises SubjectConflict when one of those has the subject of one of ours.
    """
    ours = {der_of(one.certificate): one for one in wanted}
    subjects = {_subject(der): one for der, one in ours.items() if der is not None}
    superseded = {der_of(one.certificate) for one in former} - set(ours) - foreign
    there = set()

    def keep(block: re.Match[bytes]) -> bytes:
        der = der_of(block[0])
        if der in ours:
            again = der in there  # `addServer` adds one that another name of the appliance has brought already
            there.add(der)
            return b"" if again else block[0]
        if der in superseded:
            return b""
        rival = subjects.get(_subject(der)) if der is not None else None
        if rival is None:
            return block[0]
        if der in foreign:
            raise SubjectConflict(path=path, address=rival.address)
        return b""

    kept = _BLOCK.sub(keep, content)
    lacking = [one.certificate.rstrip("\n") + "\n" for der, one in ours.items() if der not in there]
    if lacking and kept and not kept.endswith(b"\n"):
        kept += b"\n"
    return kept + "".join(lacking).encode("ascii")


def _subject(der: bytes | None) -> bytes | None:
    """Give a certificate's subject; None for a block that is no certificate: it is left alone."""
    try:
        return read_certificate(der or b"").subject
    except ValueError:
        return None
