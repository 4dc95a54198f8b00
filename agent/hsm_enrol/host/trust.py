"""Knows whom to believe in TLS: one CA file, or the system's store when the settings say so; nothing else, ever.

The environment has no say: SSL_CERT_FILE and SSL_CERT_DIR name no authority here, SSLKEYLOGFILE writes no keys.
"""

from __future__ import annotations

import os
import ssl
from typing import Final

from hsm_enrol.errors import CaUnusable
from hsm_enrol.host.tls_socket import TlsSocket

SYSTEM: Final = "system"
MOST_BYTES: Final = 1024 * 1024  # a whole system store is a quarter of that
_WHY: Final = {
    9: "not valid yet by this machine's clock",
    10: "expired by this machine's clock",
    18: "it is self-signed",
    19: "signed by another CA",
    20: "signed by another CA",
    21: "signed by another CA",
    62: "made for another host name",
    64: "made for another address",
}
"""The X509_V_ERR_ numbers (openssl-verification-options(1)) that an operator meets, in words."""


def trusting(ca_file: str, root: str = "") -> ssl.SSLContext:
    """Give a client's context: TLS 1.2 or later, host name checked, only this CA. Raises CaUnusable.

    `ca_file` is `verifier.ca_file` of the settings: a path below `root`, or `system`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and host name from the start
    context.sslsocket_class = TlsSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file == SYSTEM:
        where = ssl.get_default_verify_paths()
        cafile, capath = where.openssl_cafile, where.openssl_capath
        _load(context, SYSTEM, cafile=cafile if os.path.exists(cafile) else None, capath=capath)
    else:
        path = root + ca_file
        _load(context, path, cadata=_text(path))
        if not context.get_ca_certs():
            raise CaUnusable(path=path, error="it holds no certificate of a CA")
    return context


def why_untrusted(error: ssl.SSLCertVerificationError) -> str:
    """Say why a certificate was not accepted, in words that this program chose."""
    return _WHY.get(error.verify_code, f"verification error {error.verify_code}")


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise CaUnusable(path=path, error=error.strerror or "unreadable") from None
    if len(raw) > MOST_BYTES:
        raise CaUnusable(path=path, error="it is larger than 1 MiB")
    return raw.decode("ascii", "ignore")  # comments may be in any language


def _load(context: ssl.SSLContext, path: str, **where: str | None) -> None:
    try:
        context.load_verify_locations(**where)
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        raise CaUnusable(path=path, error="it holds no certificate in PEM form") from None
