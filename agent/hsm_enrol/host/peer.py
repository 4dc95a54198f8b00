"""Knows how to see a TLS peer's certificate, and whether an appliance would let this client in; it says nothing."""

from __future__ import annotations

import os
import socket
import ssl
from urllib.parse import urlsplit

from hsm_enrol.host.dial import dial
from hsm_enrol.host.tls_socket import TlsSocket

PATIENCE = 5.0  # seconds for a name and a connection, and again for the handshake
CERT_HAS_EXPIRED = 10  # X509_V_ERR_, openssl-verification-options(1)
REFUSAL = 0.5  # seconds in which a server that does not want us says so


def certificate_until(url: str, context: ssl.SSLContext) -> float | None:
    """Give when the certificate of an `https:` address expires (Unix seconds); None where that cannot be seen."""
    parts = urlsplit(url)
    try:
        with dial(parts.hostname or "", parts.port or 443, PATIENCE) as plain:
            plain.settimeout(PATIENCE)
            with context.wrap_socket(plain, server_hostname=parts.hostname) as secured:
                return expiry_of(secured.getpeercert() or {})
    except OSError:  # ssl.SSLError is one; why it failed is found out by asking in earnest
        return None


def expiry_of(certificate: object) -> float | None:
    """Read the expiry of a certificate as `ssl` describes it."""
    until = certificate.get("notAfter") if isinstance(certificate, dict) else None
    return float(ssl.cert_time_to_seconds(until)) if isinstance(until, str) else None


def knock(address: str, port: int, certificate: str, *, cert_file: str, key_file: str) -> tuple[bool, str]:
    """Try an appliance's TLS with our pair: whether it took the connection, and "" or why TLS does not stand.

    Its certificate is pinned as it is and no name is compared, as the client does (NTLS). With TLS 1.3 a server refuses
    a client's certificate only after the handshake, so it is listened to for a moment.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = TlsSocket
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=certificate)
        context.load_cert_chain(cert_file, key_file)
    except (OSError, ValueError) as error:
        same = isinstance(error, ssl.SSLError)
        return False, "our own pair does not match" if same else "our own pair cannot be read"
    reached = False
    try:
        with dial(address, port, PATIENCE) as plain:
            reached = True
            plain.settimeout(PATIENCE)
            with context.wrap_socket(plain) as secured:
                secured.settimeout(REFUSAL)
                return reached, "" if _stays(secured) else "it hangs up after the handshake"
    except ssl.SSLCertVerificationError as error:
        expired = error.verify_code == CERT_HAS_EXPIRED
        return reached, "its certificate is expired" if expired else "its certificate is not the one in the bundle"
    except ssl.SSLError:
        return reached, "it does not accept our client certificate"
    except socket.gaierror:
        return reached, "its name is not known here"
    except TimeoutError:
        return False, "no answer in time"  # also where something took the connection and said nothing
    except OSError as error:
        return reached, os.strerror(error.errno) if error.errno else "the connection broke"


def _stays(secured: ssl.SSLSocket) -> bool:
    """Tell whether the other side keeps the connection: it waits for us to speak, or speaks itself."""
    try:
        return secured.recv(1) != b""
    except TimeoutError:
        return True
