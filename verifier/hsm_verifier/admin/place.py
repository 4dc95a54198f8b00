"""Knows where the operators' listener stands, and refuses places where it could not know who asks.

A Unix socket or a loopback address: the kernel names the asker (peers.py). Anywhere else: tokens, and TLS always.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import pwd
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from hsm_verifier.admin.peers import is_seen_here
from hsm_verifier.settings import AdminSettings, Settings, SettingsError
from hsm_verifier.sockets import at_place
from hsm_verifier.tls_files import take_pair

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
UNIX = "unix:"
BACKLOG = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to listen: `path` of a Unix socket, or `host` and `port`. `names` are the Host headers that are ours.

    `shared` opens the Unix socket for other users; who they are is looked at when they have connected.
    """

    path: Path | None
    host: str
    port: int
    names: frozenset[str]
    certificate: str
    key: str
    shared: bool

    @property
    def local(self) -> bool:
        """Tell whether only this machine's users can connect."""
        return self.path is not None or _is_loopback(self.host)

    @property
    def tls(self) -> bool:
        """Tell whether TLS is spoken."""
        return bool(self.certificate)

    def open(self) -> socket.socket:
        """Listen. Raises OSError."""
        if self.path is not None:
            return _listen_unix(self.path, 0o666 if self.shared else 0o600)
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.host, self.port))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            raise at_place(error, self.host, self.port) from None
        return sock

    def context(self) -> ssl.SSLContext | None:
        """Give TLS 1.2 or later, or None on a local place without a certificate. Raises OSError, ssl.SSLError."""
        if not self.tls:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.set_alpn_protocols(["http/1.1"])
        take_pair(context, self.certificate, self.key)
        return context


def place_of(settings: Settings) -> Place:
    """Read `[admin]`. Raises SettingsError naming the key."""
    admin = settings.admin
    if bool(admin.tls_certificate) != bool(admin.tls_key):
        raise SettingsError("admin.tls_certificate and admin.tls_key go together")
    shared = bool(admin.may_act or admin.may_read or admin.tokens)
    if admin.listen.startswith(UNIX):
        path = settings.path.parent / admin.listen.removeprefix(UNIX)
        return Place(path=path, host="", port=0, names=_names(admin, ""), certificate="", key="", shared=shared)
    host, colon, port = admin.listen.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:  # noqa: PLR2004
        raise SettingsError(f"admin.listen: {admin.listen!r} is not HOST:PORT or unix:PATH")
    host = host.removeprefix("[").removesuffix("]")
    certificate, key = admin.tls_certificate, admin.tls_key
    if not _is_loopback(host):
        if not admin.tokens:
            raise SettingsError(f"admin.listen: {host} is more than this machine and wants admin.tokens")
        certificate, key = (
            (certificate, key) if certificate else (settings.server.tls_certificate, settings.server.tls_key)
        )
    return Place(
        path=None,
        host=host,
        port=int(port),
        names=_names(admin, certificate),
        certificate=certificate,
        key=key,
        shared=shared,
    )


def users(names: tuple[str, ...], key: str) -> frozenset[int]:
    """Give the user ids of login names. Raises SettingsError for one that this process could not recognise."""
    found = set()
    for name in names:
        try:
            uid = int(name) if name.isascii() and name.isdigit() else pwd.getpwnam(name).pw_uid
        except KeyError:
            raise SettingsError(f"{key}: there is no user {name!r}") from None
        if not is_seen_here(uid):
            raise SettingsError(f"{key}: {name} looks like nobody from in here; PrivateUsers=no, or use admin.tokens")
        found.add(uid)
    return frozenset(found)


def _names(admin: AdminSettings, certificate: str) -> frozenset[str]:
    """Give the host names we answer to: any other is a stranger's page that pointed its own name at us."""
    names = {name.lower() for name in admin.hosts} | LOCAL_NAMES
    if certificate:
        with contextlib.suppress(OSError, ValueError, x509.ExtensionNotFound):
            read = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
            there = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            names |= {one.lower() for one in there.get_values_for_type(x509.DNSName)}
            names |= {str(one) for one in there.get_values_for_type(x509.IPAddress)}
    return frozenset(names)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen_unix(path: Path, mode: int) -> socket.socket:
    """Listen on a path; one left behind by a killed server is replaced, a living one is not."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        try:
            sock.bind(str(path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not path.is_socket() or _answers(path):
                raise
            path.unlink()
            sock.bind(str(path))
        path.chmod(mode)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno or errno.EINVAL, error.strerror or str(error), str(path)) from None
    return sock


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(1)
        return probe.connect_ex(str(path)) != errno.ECONNREFUSED
