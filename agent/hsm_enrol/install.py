"""Knows how a host gets from what it is to what is wanted: all of it or nothing, then a record of it.

One transaction: the tools (at the first join), the editor's plan, a second look that must find nothing left, the
proof, the deliveries, and one rename that commits. Whatever fails before that rename is undone.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field
from functools import partial

from hsm_enrol import chrystoki, deliver
from hsm_enrol.errors import ConfStale, EnrolError, KeyLost, NotConverged
from hsm_enrol.host import credentials, files, signals, undo
from hsm_enrol.host.act import Hand
from hsm_enrol.host.conf_file import Moved, read_conf
from hsm_enrol.host.folders import below, follow, real_path, with_links
from hsm_enrol.host.lock import Lock
from hsm_enrol.host.ntls import explained, knock_at_all
from hsm_enrol.host.observe import GROUPS
from hsm_enrol.host.site import LOOKS, Site, understood
from hsm_enrol.host.state import STATE
from hsm_enrol.host.voice import Voice
from hsm_enrol.join import Join
from hsm_enrol.model import Desired, Need, PutFile, Seen, SetMode, Step, der_of, describe
from hsm_enrol.pin_use import PinUse
from hsm_enrol.plan import Former, leftovers
from hsm_enrol.proof import Proof, prove
from hsm_enrol.record import SHARED, STANDING, Record
from hsm_enrol.shapes import dataclass
from hsm_enrol.tool_runs import plain
from hsm_enrol.wire.addresses import meant_by
from hsm_enrol.witness import Row, look


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One installation. `by_tools`: the first join. `pin`: for the tools, and for what is laid down.

    `proven`: ask the tools at the end; not so in a repair from the record, which must work while an HSM is down.
    `record`: makes the record of what was reached, given the journal's tx, the proof and the shared keys as they were.
    """

    desired: Desired
    former: Former
    by_tools: bool
    proven: bool
    pin: PinUse = field(repr=False)
    before: dict[str, str | None] | None
    record: Callable[[Desired, str, dict[str, str | None]], Record] = field(repr=False)
    settings_path: str


def install(wanted: Wanted, site: Site, lock: Lock, voice: Voice) -> Desired:
    """Bring the host into the wanted state; give it with serial and slot as the tools show them.

    Raises what planning, tools and files raise, with everything undone; KeyLost after repairing all the rest;
    ConfStale when another program keeps writing the same files.
    """
    try:
        reached, needs = _install(wanted, site, lock, voice)
    except Moved:
        raise ConfStale(path=site.conf) from None
    if needs:
        raise KeyLost(path=needs[0].path)
    return reached


def _install(wanted: Wanted, site: Site, lock: Lock, voice: Voice) -> tuple[Desired, tuple[Need, ...]]:
    desired, former = wanted.desired, wanted.former
    seen = site.look(desired, former)
    site.plan(desired, former, seen)  # conflicts and odd texts end it here, before anything is saved or changed
    tuple(deliver.deliveries(desired, seen, former))  # those of java.security too
    forgotten = pair_without_record(site) if wanted.before is None else ()
    before = wanted.before if wanted.before is not None else shared_keys(site, desired, forgotten)
    left = site.left(seen)
    with (
        signals.held(),
        undo.begin(
            STATE,
            watch=site.at_risk(desired, seen),
            drop=_superseded(site, desired, former, seen, forgotten),
            root=site.root,
            by_hand=left.by_hand,
            tell=voice.displaced,
        ) as journal,
        explained(desired, site.root),
    ):
        hand = site.hand(journal, left)
        bench = site.bench(desired, lock)
        if wanted.by_tools:
            Join(
                desired=desired, former=former, site=site, hand=hand, bench=bench, voice=voice, pin=wanted.pin
            ).by_tools()
        needs = carry_out(desired, former, site, hand, voice)
        if wanted.proven and not needs:
            run = plain(lambda step: hand.tool(step, bench), bench)
            proof = prove(desired, run, voice, partial(knock_at_all, desired, site.root))
            desired = _as_proven(desired, proof)
        _deliver(desired, wanted, site, hand, voice)
        signals.stop_if_asked()
        if wanted.by_tools:
            journal.flush_files()
        record = wanted.record(desired, journal.tx, before)
        # A host that lacks its key is never one with nothing to do: no witness says so.
        rows = () if needs else witness(site, desired, wanted.settings_path)
        journal.commit(dataclasses.replace(record, witness=rows).to_bytes())
    return desired, needs


def carry_out(desired: Desired, former: Former, site: Site, hand: Hand, voice: Voice) -> tuple[Need, ...]:
    """Do the editor's plan until planning again gives nothing; what cannot be done from here is given back.

    Raises NotConverged, ConfStale when another program keeps writing.
    """
    for _ in range(LOOKS):
        try:
            seen = site.look(desired, former)
            steps = site.plan(desired, former, seen)
            for step in _ours(steps):
                signals.stop_if_asked()
                voice.detail(describe(step))
                hand.carry_out(step, seen)
            rest = site.plan(desired, former, site.look(desired, former))
        except Moved:
            continue
        if left := _ours(rest):
            raise NotConverged(count=len(left), step=describe(left[0]))
        return tuple(one for one in rest if isinstance(one, Need))
    raise ConfStale(path=site.conf)


def _ours(steps: tuple[Step, ...]) -> tuple[PutFile | SetMode, ...]:
    return tuple(one for one in steps if not isinstance(one, Need))  # type: ignore[misc]  # plans hold no tools, no drops


def _deliver(desired: Desired, wanted: Wanted, site: Site, hand: Hand, voice: Voice) -> None:
    """Give applications what they are to have. A PIN that was refused here is never laid down."""
    seen = site.look(desired, wanted.former)
    steps: list[Step] = list(deliver.deliveries(desired, seen, wanted.former))
    mode, pin = site.settings.deliver.pin, wanted.pin
    if mode != "none" and pin.value is not None and (pin.deliverable or pin.state == "accepted"):
        sealed = credentials.encrypt(pin.value, root=site.root)
        steps += deliver.sealed_pin(sealed, seen)
        if mode == "file":
            steps.append(deliver.open_pin(bytes(pin.value), seen))
    for step in steps:
        signals.stop_if_asked()
        voice.detail(describe(step))
        hand.carry_out(step, seen)  # type: ignore[arg-type]  # deliveries are files


def _as_proven(desired: Desired, proof: Proof) -> Desired:
    serial = proof.serial or desired.ha.serial
    return dataclasses.replace(desired, ha=dataclasses.replace(desired.ha, serial=serial, slot=proof.slot))


def _superseded(
    site: Site, desired: Desired, former: Former, seen: Seen, forgotten: tuple[str, ...]
) -> tuple[str, ...]:
    old = [path for path in forgotten if path not in {desired.paths.cert, desired.paths.key}]
    return tuple(real_path(below(site.root, path), site.root) for path in (*leftovers(desired, seen, former), *old))


def shared_keys(site: Site, desired: Desired, forgotten: tuple[str, ...]) -> dict[str, str | None]:
    """Read what the client has of its own before the first installation; `leave` gives it back.

    A conf that names a pair of ours already was ours, and only its record is lost: then no appliance in it is the
    site's, the pair's folder is what a client begins with in its place, and what we set for groups goes with the last.
    """
    with understood(site.conf):
        conf = chrystoki.parse(read_conf(site.conf, site.root).text)
        found = {f"{section}/{key}": chrystoki.get(conf, section, key) for section, key in SHARED}
        if not forgotten and found[f"{chrystoki.CLIENT}/ClientCertFile"] != desired.paths.cert:
            found |= {f"{STANDING}{meant_by(one.name)}": one.port for one in chrystoki.servers(conf).values()}
            return found
        folder = desired.paths.cert.rpartition("/")[0] + "/"
        found |= {f"{chrystoki.CLIENT}/{key}": folder for key in ("ClientCertFile", "ClientPrivKeyFile")}
        if all(one.label == desired.ha.label for one in chrystoki.groups(conf).values()):
            found |= {f"{section}/{key}": None for section, key in SHARED if section == chrystoki.HA}
        return found


def pair_without_record(site: Site) -> tuple[str, ...]:
    """Give the pair that the conf names, certificate first, where it is one of ours: named by content (places.py)."""
    with understood(site.conf):
        conf = chrystoki.parse(read_conf(site.conf, site.root).text)
        cert, key = (chrystoki.get(conf, chrystoki.CLIENT, f"Client{kind}File") or "" for kind in ("Cert", "PrivKey"))
    stem = cert.removesuffix(".pem")
    if not cert.startswith("/") or key != f"{stem}Key.pem":
        return ()
    with suppress(EnrolError):
        der = der_of(files.read_file(cert, root=site.root) or b"")
        if der is not None and stem.endswith(f"-{hashlib.sha256(der).hexdigest()[:12]}"):
            return cert, key
    return ()


def witness(site: Site, desired: Desired, settings_path: str) -> tuple[Row, ...]:
    """Describe every file that says "nothing to do" as long as it stays as it is now."""
    root, paths = site.root, desired.paths
    trail = follow(below(root, site.conf), root)
    names = [*(link.path for link in trail.links), trail.path]
    rest = (paths.cert, paths.key, paths.ca_file, *map(paths.server_cert, (one.address for one in desired.servers)))
    names += [real_path(below(root, path), root) for path in (*rest, *paths.java)]
    names.append(below(root, GROUPS))  # luna.group may come later, and the key is for it then
    for path in site.settings.deliver.java_security:
        names += with_links(below(root, path))
    rows = [look(name, name) for name in dict.fromkeys((*with_links(settings_path), *names))]
    if site.settings.deliver.pin != "none":
        rows.append(look(below(root, deliver.PIN_CREDENTIAL), below(root, deliver.PIN_CREDENTIAL), digest=False))
    if site.settings.deliver.pin == "file":
        rows.append(look(below(root, deliver.PIN_FILE), below(root, deliver.PIN_FILE), digest=False))
    return tuple(rows)
