"""Knows where things belong on this host: from what Chrystoki.conf says, else from where Luna clients are installed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from hsm_enrol import chrystoki
from hsm_enrol.chrystoki import CLIENT, Conf
from hsm_enrol.model import Paths, der_of

PREFIXES = ("/usr/safenet/lunaclient", "/usr/lunasa")  # 5.3 and later, then 4.x to 5.1 (luna client's install trees)
_KINDS = ("/cert/client/", "/cert/server/")
_MINIMAL = "/config/certs/"  # of the minimal ("tarball") client, which may lie anywhere


def paths_of(
    conf: Conf,
    *,
    conf_path: str,
    prefix: str,
    exists: Callable[[str], bool],
    name: str,
    certificate: str,
    java: tuple[str, ...] = (),
) -> Paths | None:
    """Give the paths for a client pair called `name`; None when no client is found here.

    The pair's files are named by content (the first 12 hex of SHA-256 of the certificate's DER): the same pair has the
    same name, a renewed one another, so that nothing refers to a new file before the conf does. Relative values of the
    conf are not used as folders. Raises chrystoki.NotUnderstood.
    """
    cert_file = _absolute(chrystoki.get(conf, CLIENT, "ClientCertFile"))
    ca_file = _absolute(chrystoki.get(conf, CLIENT, "ServerCAFile"))
    minimal = cert_file.partition(_MINIMAL)[0] if _MINIMAL in cert_file else ""
    named = prefix or _prefix_in(cert_file) or _prefix_in(ca_file) or (minimal if exists(f"{minimal}/bin") else "")
    base = named or next(filter(exists, PREFIXES), "")
    if not base or not exists(base):
        return None
    folder = (cert_file.rpartition("/")[0] if cert_file else "") or f"{base}/cert/client"
    ca_file = ca_file or f"{base}/cert/server/CAFile.pem"
    digest = hashlib.sha256(der_of(certificate) or b"").hexdigest()[:12]
    return Paths(
        prefix=base,
        conf=conf_path,
        cert=f"{folder}/{name}-{digest}.pem",
        key=f"{folder}/{name}-{digest}Key.pem",
        ca_file=ca_file,
        server_dir=ca_file.rpartition("/")[0],
        java=java,
    )


def _absolute(value: str | None) -> str:
    return value if value and value.startswith("/") else ""


def _prefix_in(path: str) -> str:
    for kind in _KINDS:
        if kind in path:
            return path.partition(kind)[0]
    return ""
