"""Knows the whole story: who this instance is, what is installed, what to ask, what to do, and what to tell afterwards.

Under one lock, after finishing or undoing what a killed run left. With a record of this instance the host is mended
from it and nobody is asked; without one the verifier is.
"""

from __future__ import annotations

import time

import hsm_enrol
from hsm_enrol import luna
from hsm_enrol.ask import Asker, Got, Question
from hsm_enrol.at_work import Host, Run, at_work
from hsm_enrol.errors import EnrolError, Refused
from hsm_enrol.host import credentials, state
from hsm_enrol.host.observe import gid_of
from hsm_enrol.host.preflight import preflight
from hsm_enrol.host.state import Owner
from hsm_enrol.install import Wanted, install
from hsm_enrol.mend import mend
from hsm_enrol.model import Desired
from hsm_enrol.pin_memory import memory_of, no_pin, pin_use
from hsm_enrol.pin_use import UNSPENT, PinUse
from hsm_enrol.receipts import due_for, settle_due, tell_failed
from hsm_enrol.record import Record, desired_from_bundle, without_secrets
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.bundle import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended well. `how`: `nothing`, `mended`, `joined`, `changed` (a newer bundle) or `current`."""

    how: str
    instance: str
    installed: Desired


def enrol(run: Run) -> Outcome:
    """Make this host a member: mend it from the record if there is one, else ask, install, prove and tell."""
    with at_work(run) as host:
        installed = _installed(host)
        if host.record is None or installed is None:
            settle_due(host)  # how an earlier run's PIN try ended, if it died before it could tell
            return _ask_and_install(host, run.reason, have=None)
        mended = mend(host, host.record, installed)
        settle_due(host, last=True)
        return Outcome(how="mended" if mended else "nothing", instance=host.instance, installed=installed)


def re_enrol(run: Run) -> Outcome:
    """Ask for the bundle again whatever the record says; the verifier gives it only on a grant."""
    with at_work(run, damaged_record_is_none=True) as host:
        settle_due(host)
        return _ask_and_install(host, run.reason, have=None)


def refresh(run: Run) -> Outcome:
    """Ask whether a newer bundle exists; a signed `current` changes nothing. A receipt that is due goes first."""
    with at_work(run) as host:
        installed = _installed(host)
        settle_due(host)
        return _ask_and_install(host, "refresh", have=installed.serial if installed else None)


def _installed(host: Host) -> Desired | None:
    return host.record.installed if host.record else None


def _ask_and_install(host: Host, reason: str, *, have: int | None) -> Outcome:
    """Prove that all can be written, ask, and install what was given."""
    run, installed = host.run, _installed(host)
    tools_will_try = installed is None and host.site.settings.luna.join == "tool"
    credentials.must_be_there(host.site.settings.deliver.pin, host.root)
    paths, private = host.site.destinations()
    preflight(paths, root=host.root, private=private)
    owner = state.owner_for(host.instance, host.root)
    asker = Asker(settings=run.settings, imds=host.imds, courier=host.courier, owner=owner, voice=run.voice)
    newest = installed.serial if installed and not run.allow_older else None
    run.voice.step("ask", f"{len(run.settings.verifier.urls)} verifier(s), {_evidence(host)}")
    try:
        got = asker.ask(Question(reason=reason, have=have, pin=tools_will_try), newest=newest)
    except EnrolError as error:
        if asker.answer is not None:
            tell_failed(host, owner, asker.answer, error, UNSPENT)
        state.drop_pending(host.root)
        raise
    state.drop_pending(host.root)  # from here on the journal says what was cut off
    run.voice.know(verifier=host.courier.url)
    return _install(host, owner, got, got.bundle) if got.bundle else _current(host)


def _evidence(host: Host) -> str:
    return "evidence " + (" + ".join(host.site.settings.assertion.evidence) or "fields only")


def _current(host: Host) -> Outcome:
    """Nothing newer, says a signed answer; nothing is changed."""
    installed = _installed(host)
    if installed is None:
        raise Refused(reason="current", decision="-")
    return Outcome(how="current", instance=host.instance, installed=installed)


def _install(host: Host, owner: Owner, got: Got, bundle: Bundle) -> Outcome:
    """Install an opened bundle and tell the verifier how it went, whichever way."""
    first = _installed(host) is None
    pin = no_pin()
    host.run.voice.step("install", f"serial {bundle.serial}, group {bundle.ha.label}")
    try:
        pin = pin_use(host, owner, got.answer, bundle)
        _warn(host, bundle)
        desired = desired_from_bundle(bundle, host.site.paths(bundle.client.name, bundle.client.certificate))
        wanted = Wanted(
            desired=desired,
            former=host.former,
            by_tools=first and host.site.settings.luna.join == "tool",
            proven=True,
            pin=pin,
            before=dict(host.record.before) if host.record and host.record.before is not None else None,
            record=lambda reached, tx, before: _record(host, got, pin, reached=reached, tx=tx, before=before),
            settings_path=host.run.settings_path,
        )
        reached = install(wanted, host.site, host.lock, host.run.voice)
    except EnrolError as error:
        tell_failed(host, owner, got.answer, error, pin.state)
        raise
    finally:
        credentials.zero(pin.value)
    settle_due(host, last=True)
    return Outcome(how="joined" if first else "changed", instance=host.instance, installed=reached)


def _warn(host: Host, bundle: Bundle) -> None:
    """Say what will work here, but perhaps not for everybody."""
    if odd := luna.key_warning(bundle.client.private_key):
        host.run.voice.warn(odd)
    group = host.site.settings.luna.group
    if gid_of(group, host.root) is None:
        host.run.voice.warn(f"there is no group {group} here: only root can use the client key")


def _record(host: Host, got: Got, pin: PinUse, *, reached: Desired, tx: str, before: dict[str, str | None]) -> Record:
    """Say what is installed now, and which receipt is owed for it."""
    return Record(
        agent=hsm_enrol.__version__,
        instance_id=host.instance,
        tx=tx,
        installed=without_secrets(reached),
        installed_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + host.courier.offset)),
        pin=memory_of(pin.id, pin.state, reached.serial),
        receipt_due=due_for(got.answer, pin.state),
        before=before,
    )
