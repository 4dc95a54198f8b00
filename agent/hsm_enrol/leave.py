"""Knows how to take this host out of its group, and how to clean an image so that nothing of an instance stays in it.

One transaction, as joining is: a crash leaves the host joined or gone. No tool runs and nobody is asked: taking a group
out by a tool would want the PIN, and a group is nothing but lines in this client's conf.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from hsm_enrol import chrystoki, deliver, java_security, plan
from hsm_enrol.at_work import Run, recover
from hsm_enrol.ca_file import with_certificates
from hsm_enrol.departure import departure
from hsm_enrol.errors import CannotWrite, ClientMissing, ConfStale, EnrolError, RecordDamaged
from hsm_enrol.host import files, last_run, signals, state, undo
from hsm_enrol.host.act import Hand
from hsm_enrol.host.conf_file import Moved, must_have_one_name
from hsm_enrol.host.folders import below, errno_name, follow, real_path
from hsm_enrol.host.lock import Lock
from hsm_enrol.host.site import LOOKS, Site, understood
from hsm_enrol.model import Desired, EditConf, Present, PutFile, Seen, Step, der_of, describe
from hsm_enrol.places import PREFIXES
from hsm_enrol.record import PATH as RECORD
from hsm_enrol.record import PinMemory, Record

# Metrics would say "healthy" for ever.
_OURS_ALONE = (state.OWNER_KEY, state.PENDING, state.METRICS, last_run.PATH)
_STATE = (
    *_OURS_ALONE,
    deliver.PIN_CREDENTIAL,
    deliver.PIN_FILE,
    deliver.HA_ENV,
)
_OURS = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}-[0-9a-f]{12}(Key)?\.pem", re.ASCII)


def leave(run: Run) -> Desired | None:
    """Take out what the record says is ours; give it, None when there was nothing. Raises as installing does."""
    root = run.settings.root
    with Lock(below(root, state.LOCK)) as _, signals.raising():
        with signals.held():
            recover(root, run.voice)
        record = state.read_record(root)
        installed = record.installed or record.image if record else None
        if record is not None and installed is not None:
            _take_out(run, Site.of(run.settings), record, installed)
        elif record is not None and _spent(record) is None:
            files.remove_file(RECORD, root=root)
        for path in _OURS_ALONE:
            files.drop_file(path, root=root)
        return installed


def generalize(run: Run) -> Desired | None:
    """Leave, then remove everything that an instance of this agent can have written; works twice, and without a record.

    An image is best made of a host that never enrolled: what was deleted may still be read off the disk's free blocks.
    """
    root = run.settings.root
    try:
        installed = leave(run)
    except RecordDamaged:
        run.voice.warn("the record is damaged; what it named is left in Chrystoki.conf")
        installed = None
    with Lock(below(root, state.LOCK)):
        for path in (*_STATE, *_pairs_of_ours(run)):
            run.voice.detail(f"remove {path}")
            files.drop_file(path, root=root)
        for folder in _folders_of_ours(run):
            files.sweep(folder, root=root)
        files.remove_file(RECORD, root=root)
        _remove_folder(below(root, state.STATE))
    return installed


def _take_out(run: Run, site: Site, record: Record, installed: Desired) -> None:
    seen = _look(run, site, record, installed)
    ours = dataclasses.replace(installed, servers=record.former.ours(()))
    # A text that is not understood ends it here, before anything is saved, and so does a conf that has another name.
    if any(isinstance(one, EditConf) for one in _edits(site, record, ours, seen)):
        must_have_one_name(site.conf, site.root)
    gone = _superseded(site, ours, seen)
    left, tell = site.left(seen), run.voice.displaced
    watch, root = site.at_risk(installed, seen), site.root
    with (
        signals.held(),
        undo.begin(state.STATE, watch=watch, drop=gone, root=root, by_hand=left.by_hand, tell=tell) as tx,
    ):
        hand = site.hand(tx, left)
        _edit(run, site, record, installed, hand)
        spent = _spent(record)
        gone_from = dataclasses.replace(
            record,
            tx=tx.tx,
            installed=None,
            installed_at="",
            image=None,
            receipt_due=None,
            witness=(),
            before=None,
            pin=spent,
        )
        tx.commit(gone_from.to_bytes())
    if spent is None:
        # After the journal: the other way round a crash between the two would undo a departure that is done.
        files.remove_file(RECORD, root=site.root)


def _edit(run: Run, site: Site, record: Record, installed: Desired, hand: Hand) -> None:
    """Edit what stays without us; look again when another program writes meanwhile. ConfStale when it does not stop."""
    for _ in range(LOOKS):
        with suppress(Moved):
            seen = _look(run, site, record, installed)
            for step in _edits(site, record, dataclasses.replace(installed, servers=record.former.ours(())), seen):
                signals.stop_if_asked()
                run.voice.detail(describe(step))
                hand.carry_out(step, seen)  # type: ignore[arg-type]  # file steps only
            return
    raise ConfStale(path=site.conf)


def _spent(record: Record) -> PinMemory | None:
    """Give the memory that outlives a departure: of a PIN that must not be tried here again."""
    return record.pin if record.pin is not None and record.pin.state in {"tried", "refused"} else None


def _look(run: Run, site: Site, record: Record, installed: Desired) -> Seen:
    """Look as joining does; a client that is gone meanwhile is no reason to keep its key."""
    try:
        return site.look(installed, record.former)
    except ClientMissing as error:
        run.voice.warn(f"{error.fault()}; what is ours is removed all the same")
        return site.look_without_conf(installed, record.former)


def _edits(site: Site, record: Record, ours: Desired, seen: Seen) -> tuple[Step, ...]:
    """Give the edits of the files that stay without us; the conf comes last."""
    found: list[Step] = []
    without = partial(_without_ours, site, ours, seen)
    rewrite: list[tuple[str, Callable[[bytes], bytes]]] = [(ours.paths.ca_file, without)]
    rewrite += [(path, partial(_without_provider, path)) for path in ours.paths.java]
    for path, change in rewrite:
        there = seen.at(path)
        content = change(there.content) if isinstance(there, Present) else b""
        if isinstance(there, Present) and content and content != there.content:
            found.append(PutFile(path=path, content=content, mode=there.mode, uid=there.uid, gid=there.gid))
    if isinstance(seen.conf, Present):
        with understood(site.conf):
            changes = tuple(departure(chrystoki.decode(seen.conf.content), ours, record.before or {}))
        if changes:
            found.append(EditConf(path=site.conf, changes=changes))
    return tuple(found)


def _without_ours(site: Site, ours: Desired, seen: Seen, content: bytes) -> bytes:
    text = chrystoki.decode(seen.conf.content) if isinstance(seen.conf, Present) else ""
    with understood(site.conf):
        foreign = plan.foreign_certificates(ours, seen, text, ours.servers)
    return with_certificates(content, ours.paths.ca_file, (), ours.servers, foreign)


def _without_provider(path: str, content: bytes) -> bytes:
    return java_security.without_provider(content, path)


def _superseded(site: Site, ours: Desired, seen: Seen) -> tuple[str, ...]:
    """Give what goes once we are out: the pair, our server certificates (byte for byte ours), the deliveries.

    The owner key with them: a departure that is cut off after its commit must not be served again at the next boot.
    """
    paths = ours.paths
    found = [paths.key, paths.cert, deliver.HA_ENV, deliver.PIN_FILE, deliver.PIN_CREDENTIAL, state.OWNER_KEY]
    ca_file = seen.at(paths.ca_file)
    if isinstance(ca_file, Present) and not _without_ours(site, ours, seen, ca_file.content).strip():
        found.append(paths.ca_file)  # an empty one would be an error to OpenSSL
    for server in ours.servers:
        there = seen.at(paths.server_cert(server.address))
        if isinstance(there, Present) and der_of(there.content) == der_of(server.certificate):
            found.append(paths.server_cert(server.address))
    return tuple(real_path(below(site.root, path), site.root) for path in found)


def _pairs_of_ours(run: Run) -> list[str]:
    """Find pairs under names that only this agent gives, in the folders where the conf or the client has pairs."""
    found = []
    for folder in _folders_of_ours(run):
        with suppress(OSError):
            names = os.listdir(below(run.settings.root, folder))
            found += [f"{folder}/{name}" for name in sorted(names) if _OURS.fullmatch(name)]
    return found


def _folders_of_ours(run: Run) -> tuple[str, ...]:
    """Give the folders in which this agent writes. Without a client, those where clients have their pairs."""
    site = Site.of(run.settings)
    try:
        paths = site.paths("any", "")
    except EnrolError:
        return tuple(f"{prefix}/cert/{kind}" for prefix in PREFIXES for kind in ("client", "server"))
    conf = follow(below(site.root, site.conf), site.root).path
    return tuple(dict.fromkeys((os.path.dirname(paths.cert), paths.server_dir, os.path.dirname(conf))))


def _remove_folder(path: str) -> None:
    """Remove our state folder with whatever is left in it; a folder that is not there is fine."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CannotWrite(path=path, error=errno_name(error)) from error
