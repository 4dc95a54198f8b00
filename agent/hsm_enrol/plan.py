"""Knows what would make this host match what is wanted: a tuple of steps, decided from files alone, in a fixed order.

Pair, server certificates, CA file, one edit of the conf, modes. Each prefix of that order leaves a working client:
until the conf's rename nothing refers to the new files. Planning again after acting gives the empty plan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from hsm_enrol import chrystoki
from hsm_enrol.ca_file import with_certificates
from hsm_enrol.chrystoki import CLIENT
from hsm_enrol.conf_changes import conf_changes, differences, server_keys
from hsm_enrol.errors import ClientMissing
from hsm_enrol.model import (
    ABSENT,
    Change,
    Desired,
    EditConf,
    Found,
    Need,
    Present,
    PutFile,
    Seen,
    Server,
    SetMode,
    Step,
    der_of,
)
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.addresses import meant_by

PUBLIC_MODE = 0o644
KEY_MODE, LONE_KEY_MODE = 0o640, 0o600  # with luna.group, and without it


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """What an earlier run installed here (by the record); nothing else on the host is ours to remove.

    `standing`: what the addresses mean that were registered before the first run came: the site may need them.
    """

    servers: tuple[Server, ...] = ()
    standing: frozenset[str] = frozenset()
    label: str | None = None
    cert: str | None = None
    key: str | None = None
    java: tuple[str, ...] = ()

    def ours(self, wanted: Sequence[Server]) -> tuple[Server, ...]:
        """Give the servers whose entries and certificates are ours: not one of the site's that is not wanted by us."""
        kept = self.standing - {meant_by(one.address) for one in wanted}
        return tuple(one for one in self.servers if meant_by(one.address) not in kept)


NOTHING = Former()


def make_plan(desired: Desired, seen: Seen, former: Former = NOTHING) -> tuple[Step, ...]:
    """Give the steps from what is seen to what is desired; () when there is nothing to do.

    Raises ClientMissing; chrystoki.NotUnderstood and BadValue; GroupConflict, SubjectConflict. Nothing is changed.
    """
    text = conf_text(desired, seen)
    steps = [*pair_steps(desired, seen), *_server_steps(desired, seen), *_ca_steps(desired, seen, former, text)]
    changes = tuple(conf_changes(text, desired, former.ours(desired.servers), former.label))
    if changes:
        steps.append(EditConf(path=desired.paths.conf, changes=changes))
    return tuple(one for one in steps if not isinstance(one, SetMode)) + tuple(
        one for one in steps if isinstance(one, SetMode)
    )


def conf_text(desired: Desired, seen: Seen) -> str:
    """Give the conf's text. We never invent a whole conf: ClientMissing when it is not there."""
    if not isinstance(seen.conf, Present):
        raise ClientMissing(path=desired.paths.conf)
    return chrystoki.decode(seen.conf.content)


def prelude(desired: Desired, seen: Seen) -> tuple[Step, ...]:
    """Give what the Luna tools want in place before they run: the pair, and the conf naming it."""
    conf = chrystoki.parse(conf_text(desired, seen))
    wanted = {
        "ClientCertFile": desired.paths.cert,
        "ClientPrivKeyFile": desired.paths.key,
        "ServerCAFile": desired.paths.ca_file,
        "NetClient": "1",
    }
    changes = tuple(
        Change(section=CLIENT, key=key, old=chrystoki.get(conf, CLIENT, key), new=value)
        for key, value in wanted.items()
        if chrystoki.get(conf, CLIENT, key) != value
    )
    edit = (EditConf(path=desired.paths.conf, changes=changes),) if changes else ()
    return (*pair_steps(desired, seen), *edit)


def trust(desired: Desired, seen: Seen, former: Former = NOTHING) -> tuple[Step, ...]:
    """Give what is still to be done so that each appliance is known by the certificate and port that the bundle has."""
    text = conf_text(desired, seen)
    conf = chrystoki.parse(text)
    changes = tuple(differences(conf, server_keys(conf, desired.servers, ())))
    edit = (EditConf(path=desired.paths.conf, changes=changes),) if changes else ()
    return (*_server_steps(desired, seen), *_ca_steps(desired, seen, former, text), *edit)


def paths_to_look_at(desired: Desired, former: Former, text: str) -> tuple[str, ...]:
    """Give every path that a plan may want to know about, the conf apart."""
    paths = desired.paths
    names = [one.address for one in (*desired.servers, *former.servers)]
    names += [one.name for one in chrystoki.servers(chrystoki.parse(text)).values()]
    certificates = [paths.server_cert(name) for name in names if "/" not in name]
    old = [path for path in (former.cert, former.key) if path]
    return tuple(dict.fromkeys([paths.cert, paths.key, paths.ca_file, *certificates, *old, *former.java]))


def leftovers(desired: Desired, seen: Seen, former: Former) -> tuple[str, ...]:
    """Give the files of ours that are superseded once the plan is done: the old pair, certificates of gone servers."""
    kept = {meant_by(one.address) for one in desired.servers}
    found = [path for path in (former.cert, former.key) if path and path not in {desired.paths.cert, desired.paths.key}]
    for server in former.ours(desired.servers):
        path = desired.paths.server_cert(server.address)
        there = seen.files.get(path, ABSENT)
        ours = isinstance(there, Present) and der_of(there.content) == der_of(server.certificate)
        if ours and meant_by(server.address) not in kept:
            found.append(path)
    return tuple(found)


def pair_steps(desired: Desired, seen: Seen) -> Iterator[Step]:
    """Give the steps for certificate and key. Certificates compare by DER, keys by bytes or, by the record, digest."""
    client, paths = desired.client, desired.paths
    yield from _public(paths.cert, client.certificate, seen)
    mode, gid = (LONE_KEY_MODE, seen.gid) if seen.key_gid is None else (KEY_MODE, seen.key_gid)
    there = seen.at(paths.key)
    digest = hashlib.sha256(there.content).hexdigest() if isinstance(there, Present) else ""
    if digest == client.key_sha256:
        yield from _mode(paths.key, there, mode, seen.uid, gid)
    elif client.key is None:
        yield Need(what="the client key", path=paths.key)
    else:
        content = client.key.encode("ascii")
        yield PutFile(path=paths.key, content=content, mode=mode, uid=seen.uid, gid=gid, secret=True)


def _server_steps(desired: Desired, seen: Seen) -> Iterator[Step]:
    for server in desired.servers:
        yield from _public(desired.paths.server_cert(server.address), server.certificate, seen)


def _ca_steps(desired: Desired, seen: Seen, former: Former, text: str) -> Iterator[Step]:
    path, there = desired.paths.ca_file, seen.at(desired.paths.ca_file)
    ours = former.ours(desired.servers)
    foreign = foreign_certificates(desired, seen, text, (*desired.servers, *ours))
    before = there.content if isinstance(there, Present) else b""
    after = with_certificates(before, path, desired.servers, ours, foreign)
    if after != before:
        yield PutFile(path=path, content=after, mode=PUBLIC_MODE, uid=seen.uid, gid=seen.gid)
    else:
        yield from _mode(path, there, PUBLIC_MODE, seen.uid, seen.gid)


def foreign_certificates(desired: Desired, seen: Seen, text: str, ours: Sequence[Server]) -> frozenset[bytes | None]:
    """Give the DER of the certificates of registered servers that are not ours, as the client keeps them."""
    names = {meant_by(one.address) for one in ours}
    foreign = set()
    for one in chrystoki.servers(chrystoki.parse(text)).values():
        kept = seen.files.get(desired.paths.server_cert(one.name), ABSENT)
        if meant_by(one.name) not in names and isinstance(kept, Present):
            foreign.add(der_of(kept.content))
    return frozenset(foreign)


def _public(path: str, pem: str, seen: Seen) -> Iterator[Step]:
    there = seen.at(path)
    if isinstance(there, Present) and der_of(there.content) == der_of(pem) is not None:
        yield from _mode(path, there, PUBLIC_MODE, seen.uid, seen.gid)
    else:
        yield PutFile(path=path, content=pem.encode("ascii"), mode=PUBLIC_MODE, uid=seen.uid, gid=seen.gid)


def _mode(path: str, there: Found, mode: int, uid: int, gid: int) -> Iterator[Step]:
    if isinstance(there, Present) and (there.mode, there.uid, there.gid) != (mode, uid, gid):
        yield SetMode(path=path, mode=mode, uid=uid, gid=gid)
