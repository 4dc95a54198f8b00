"""Knows this host while one command works on it: locked, recovered, and sure which instance it is."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import TypeVar

import hsm_enrol
from hsm_enrol.errors import RecordDamaged
from hsm_enrol.host import files, signals, state, undo
from hsm_enrol.host.by_hand import other_sections_differ
from hsm_enrol.host.courier import Courier
from hsm_enrol.host.folders import below
from hsm_enrol.host.imds import DMI, Imds
from hsm_enrol.host.lock import Lock
from hsm_enrol.host.retry import Deadline
from hsm_enrol.host.service_manager import ask_for_time
from hsm_enrol.host.site import Site
from hsm_enrol.host.voice import Voice
from hsm_enrol.plan import NOTHING, Former
from hsm_enrol.record import PATH as RECORD
from hsm_enrol.record import Record
from hsm_enrol.settings import Settings
from hsm_enrol.shapes import dataclass

Closing = TypeVar("Closing", Imds, Courier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one invocation brings: settings, why it runs, a voice, and the machine's chance and patience."""

    settings: Settings
    settings_path: str
    reason: str
    voice: Voice
    allow_older: bool = False
    rng: random.Random = field(default_factory=random.SystemRandom, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What is known before anybody but IMDS is asked. `record` is this instance's own.

    In a cloned image it says only what the other instance's run left here. `memory_lost`: there was a record that could
    not be read, and with it went the memory of PIN tries.
    """

    run: Run
    site: Site
    lock: Lock
    imds: Imds
    courier: Courier
    instance: str
    record: Record | None
    memory_lost: bool = False

    @property
    def former(self) -> Former:
        """Give what is ours on disk."""
        return self.record.former if self.record is not None else NOTHING

    @property
    def root(self) -> str:
        """Give --root."""
        return self.site.root

    @property
    def audience(self) -> str:
        """Give the name of the verifiers' one ledger."""
        return self.site.settings.verifier.audience


@contextmanager
def at_work(run: Run, *, damaged_record_is_none: bool = False) -> Iterator[Host]:
    """Take the lock, finish what a killed run left, find out which instance this is, wipe what is another's."""
    root, voice = run.settings.root, run.voice
    with ExitStack() as stack:
        lock = stack.enter_context(Lock(below(root, state.LOCK)))
        stack.enter_context(signals.raising())
        with signals.held():
            recover(root, voice)
        # Metadata is read anew for each question, so that its time may begin again when the verifiers' is nearly over.
        ask_for_time(2 * run.settings.imds.deadline + run.settings.verifier.deadline)
        site = Site.of(run.settings)
        imds = stack.enter_context(_closing(open_imds(run)))
        courier = stack.enter_context(_closing(_courier(run)))
        voice.step("identify", "ask IMDS which instance this is")
        instance = imds.fetch_instance_id()
        voice.know(instance=instance)
        record, lost = _own_record(root, instance, voice, none_if_damaged=damaged_record_is_none)
        yield Host(
            run=run,
            site=site,
            lock=lock,
            imds=imds,
            courier=courier,
            instance=instance,
            record=record,
            memory_lost=lost,
        )


def recover(root: str, voice: Voice) -> None:
    """Bring a transaction that was cut off to its end: the first act of every command that writes."""
    settled = undo.settle(state.STATE, root=root, by_hand=other_sections_differ, tell=voice.displaced)
    files.drop_file(state.SERVER_PEM, root=root)
    if settled.outcome == "undone":
        voice.warn("an earlier run was cut off; what it had begun is undone")
    if settled.outcome == "finished":
        voice.say("an earlier run was cut off after its commit; its leftovers are removed")
    with suppress(RecordDamaged):
        record = state.read_record(root)
        if record is not None and record.is_empty:  # a departure that was cut off at its very end
            files.remove_file(RECORD, root=root)


@contextmanager
def _closing(one: Closing) -> Iterator[Closing]:
    try:
        yield one
    finally:
        one.close()


def open_imds(run: Run) -> Imds:
    """Give this machine's metadata service, as the settings name it."""
    settings = run.settings.imds
    return Imds(
        settings.endpoint,
        deadline=Deadline(settings.deadline),
        rng=run.rng,
        sleep=run.sleep,
        dmi=Path(below(run.settings.root, DMI)),
        on_wait=run.voice.wait,
        on_exchange=run.voice.detail,
    )


def _courier(run: Run) -> Courier:
    return Courier(
        run.settings.verifier,
        root=run.settings.root,
        deadline=Deadline(run.settings.verifier.deadline),
        rng=run.rng,
        sleep=run.sleep,
        on_wait=run.voice.wait,
        on_exchange=run.voice.detail,
    )


def _own_record(root: str, instance: str, voice: Voice, *, none_if_damaged: bool) -> tuple[Record | None, bool]:
    """Give this instance's record, and whether one was lost.

    Raises RecordDamaged: a damaged record is not absent, for the memory of PIN tries is in it.
    """
    lost = False
    try:
        record = state.read_record(root)
    except RecordDamaged:
        if not none_if_damaged:
            raise
        voice.warn("the record is damaged; it is written anew")
        files.remove_file(RECORD, root=root)
        record, lost = None, True
    foreign = state.wipe_foreign(instance, root)
    if foreign is not None:
        voice.warn(f"this image carried the state of {foreign}; it is wiped")
    if record is not None and record.instance_id != instance:
        record = record.for_clone(hsm_enrol.__version__, instance, state.NO_TX)
    return record, lost
