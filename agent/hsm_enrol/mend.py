"""Knows how to mend a host from its own record: no verifier, no appliance, no PIN from outside."""

from __future__ import annotations

import dataclasses
import os

import hsm_enrol
from hsm_enrol import deliver
from hsm_enrol.at_work import Host
from hsm_enrol.errors import EnrolError
from hsm_enrol.host import credentials, files
from hsm_enrol.host.conf_file import must_have_one_name
from hsm_enrol.host.folders import below
from hsm_enrol.host.site import understood
from hsm_enrol.install import Wanted, install, witness
from hsm_enrol.model import ABSENT, Desired, EditConf, Found, Present, PutFile, Seen, Step
from hsm_enrol.pin_memory import no_pin
from hsm_enrol.record import Record, without_secrets


def mend(host: Host, record: Record, installed: Desired) -> bool:
    """Make the files what the record says they are; tell whether anything was to be done.

    What /run lost with a reboot is made again without a transaction. Raises as install does; KeyLost when the client
    key is gone, after all the rest was mended.
    """
    desired = host.site.wanted_now(installed)
    seen = host.site.look(desired, host.former)
    steps = host.site.plan(desired, host.former, seen)
    if any(isinstance(one, EditConf) for one in steps):
        must_have_one_name(host.site.conf, host.root)
    with understood(host.site.conf):
        given = tuple(deliver.deliveries(desired, seen, host.former))
    lasting = [one for one in given if isinstance(one, PutFile) and not one.path.startswith("/run/")]
    remade = _remake(host, given) | _mend_pin(host, seen)  # before the witness is taken: it knows the PIN file
    same = record.witness == witness(host.site, desired, host.run.settings_path)
    if steps or lasting or not same or record.agent != hsm_enrol.__version__:
        differs = (
            "this host differs from its record" if steps or lasting else "nothing differs; what is watched is noted"
        )
        host.run.voice.step("mend", differs)
        _install(host, record, desired)
    return bool(steps or lasting or remade)


def _install(host: Host, record: Record, desired: Desired) -> None:
    wanted = Wanted(
        desired=desired,
        former=host.former,
        by_tools=False,
        proven=False,
        pin=no_pin(record.pin),
        before=dict(record.before or {}),
        record=lambda reached, tx, before: dataclasses.replace(
            record, tx=tx, agent=hsm_enrol.__version__, installed=without_secrets(reached), before=before
        ),
        settings_path=host.run.settings_path,
    )
    install(wanted, host.site, host.lock, host.run.voice)


def _remake(host: Host, given: tuple[Step, ...]) -> bool:
    """Make again what /run lost: ha.env, from the record."""
    made = [one for one in given if isinstance(one, PutFile) and one.path.startswith("/run/")]
    for one in made:
        files.put_file(one.path, one.content, mode=one.mode, uid=one.uid, gid=one.gid, root=host.root)
    return bool(made)


def _mend_pin(host: Host, seen: Seen) -> bool:
    """Give applications the PIN as the settings say today, out of its sealed credential; tell whether that was to do.

    What the settings do not want any more is removed. That a credential is gone or does not open is a warning: only the
    verifier has the PIN, and a member works without it.
    """
    mode = host.site.settings.deliver.pin
    unwanted = {"none": (deliver.PIN_FILE, deliver.PIN_CREDENTIAL), "credential": (deliver.PIN_FILE,), "file": ()}[mode]
    gone = [path for path in unwanted if os.path.lexists(below(host.root, path))]
    for path in gone:
        files.drop_file(path, root=host.root)
    if mode == "none":
        return bool(gone)
    wanted = deliver.open_pin(b"", seen)
    looks = [(deliver.PIN_CREDENTIAL, deliver.CREDENTIAL_MODE, seen.gid)]
    if mode == "file":
        looks.append((deliver.PIN_FILE, wanted.mode, wanted.gid))
    odd = [one for one in looks if _is_odd(seen.at(one[0]), one[1], seen.uid, one[2])]
    for path, bits, gid in odd:
        files.set_mode(path, mode=bits, uid=seen.uid, gid=gid, root=host.root)
    return _open_pin(host, seen) or bool(gone or odd)


def _is_odd(there: Found, mode: int, uid: int, gid: int) -> bool:
    return isinstance(there, Present) and (there.mode, there.uid, there.gid) != (mode, uid, gid)


def _open_pin(host: Host, seen: Seen) -> bool:
    """Write the PIN file when it is wanted and not there."""
    wanted = host.site.settings.deliver.pin == "file" and seen.at(deliver.PIN_FILE) is ABSENT
    sealed = files.read_file(deliver.PIN_CREDENTIAL, root=host.root)
    if sealed is None:
        if host.record is not None and host.record.has_good_pin:
            host.run.voice.warn(
                f"{deliver.PIN_CREDENTIAL} is gone; `hsm-enrol re-enrol` brings the PIN back on a grant"
            )
        return False
    if not wanted:
        return False
    try:
        pin = credentials.decrypt(sealed, root=host.root)
    except EnrolError as error:
        host.run.voice.warn(f"the sealed PIN does not open: {error.fault()}")
        return False
    step = deliver.open_pin(bytes(pin), seen)
    credentials.zero(pin)
    files.put_file(
        step.path, step.content, mode=step.mode, uid=step.uid, gid=step.gid, root=host.root, private=step.secret
    )
    return True
