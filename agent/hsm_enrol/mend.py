"""Knows how to mend a host from its own record: no verifier, no appliance, no PIN from outside."""

from __future__ import annotations

import dataclasses

import hsm_enrol
from hsm_enrol import deliver
from hsm_enrol.at_work import Host
from hsm_enrol.errors import EnrolError
from hsm_enrol.host import credentials, files
from hsm_enrol.host.site import understood
from hsm_enrol.install import Wanted, install, witness
from hsm_enrol.model import ABSENT, Desired, PutFile, Seen, Step
from hsm_enrol.pin_memory import no_pin
from hsm_enrol.record import Record, without_secrets


def mend(host: Host, record: Record, installed: Desired) -> bool:
    """Make the files what the record says they are; tell whether anything was to be done.

    What /run lost with a reboot is made again without a transaction. Raises as install does; KeyLost when the client
    key is gone, after all the rest was mended.
    """
    desired = wanted_now(host, installed)
    seen = host.site.look(desired, host.former)
    steps = host.site.plan(desired, host.former, seen)
    with understood(host.site.conf):
        given = tuple(deliver.deliveries(desired, seen))
    lasting = [one for one in given if isinstance(one, PutFile) and not one.path.startswith("/run/")]
    same = record.witness == witness(host.site, desired, host.run.settings_path)
    if steps or lasting or not same or record.agent != hsm_enrol.__version__:
        host.run.voice.step("mend", "this host differs from its record")
        _install(host, record, desired)
    remade = _remake(host, given, seen)
    return bool(steps or lasting or remade)


def wanted_now(host: Host, installed: Desired) -> Desired:
    """Give the recorded state with what the settings say today: a changed list of java.security files is mended too."""
    java = host.site.settings.deliver.java_security
    return dataclasses.replace(installed, paths=dataclasses.replace(installed.paths, java=java))


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


def _remake(host: Host, given: tuple[Step, ...], seen: Seen) -> bool:
    """Make the files below /run again: ha.env from the record, the PIN file out of its sealed credential."""
    made = [one for one in given if isinstance(one, PutFile) and one.path.startswith("/run/")]
    if host.site.settings.deliver.pin == "file" and seen.files.get(deliver.PIN_FILE) is ABSENT:
        sealed = files.read_file(deliver.PIN_CREDENTIAL, root=host.root)
        if sealed is not None:
            try:
                pin = credentials.decrypt(sealed)
                made.append(deliver.open_pin(bytes(pin), seen))
                credentials.zero(pin)
            except EnrolError as error:
                host.run.voice.warn(f"the sealed PIN does not open: {error.fault()}")
    for one in made:
        files.put_file(one.path, one.content, mode=one.mode, uid=one.uid, gid=one.gid, root=host.root)
    return bool(made)
