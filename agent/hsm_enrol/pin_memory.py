"""Knows which PIN may be tried on this host, and remembers each try beforehand: a wrong one counts to lockout."""

from __future__ import annotations

import dataclasses

import hsm_enrol
from hsm_enrol.at_work import Host
from hsm_enrol.errors import PinRefused
from hsm_enrol.host import files, state
from hsm_enrol.host.state import Owner
from hsm_enrol.pin_use import UNSPENT, PinUse
from hsm_enrol.receipts import due_after_try, tell_trying
from hsm_enrol.record import PATH as RECORD
from hsm_enrol.record import PinMemory, Record
from hsm_enrol.wire.answer import Answer
from hsm_enrol.wire.bundle import Bundle


def no_pin(memory: PinMemory | None = None) -> PinUse:
    """Give the use of no PIN at all."""
    return PinUse(
        id=memory.id if memory else None,
        value=None,
        state=memory.state if memory else UNSPENT,
        usable=False,
        deliverable=False,
        before_try=lambda: None,
        after_try=lambda _: None,
    )


def pin_use(host: Host, owner: Owner, answer: Answer, bundle: Bundle) -> PinUse:
    """Decide what may be done with a bundle's PIN here.

    Tried by tools only when it was never tried on this instance, or was accepted; not when the memory of it was lost.
    Delivered to applications only when it was accepted here, or when the answer is no trial: another instance has
    proved it, or tools have nothing to try here and no gate was asked (V13). Raises PinRefused for one that the HSM
    refused here: joining beside it would hand every application a bad PIN.
    """
    memory = host.record.pin if host.record is not None else None
    if bundle.pin is None:
        return no_pin(memory)
    known = memory if memory is not None and memory.id == bundle.pin.id else None
    if known is not None and known.state == "refused":
        raise PinRefused(pin_id=bundle.pin.id)
    accepted = known is not None and known.state == "accepted"
    pin_id = bundle.pin.id

    def before_try() -> None:
        if answer.trial:
            host.run.voice.step("trial", "first try of this PIN; the verifier is told")
            tell_trying(host, owner, answer)
        remember(host, answer, pin_id, "tried")

    return PinUse(
        id=pin_id,
        value=bytearray(bundle.pin.value.encode("ascii")),
        state=known.state if known is not None else UNSPENT,
        usable=accepted or (known is None and not host.memory_lost),
        deliverable=accepted or not answer.trial,
        before_try=before_try,
        after_try=lambda reached: remember(host, answer, pin_id, reached),
    )


def remember(host: Host, answer: Answer, pin_id: str, reached: str) -> None:
    """Write what is known of a PIN into the record, under the transaction that committed last; it is never undone."""
    record = state.read_record(host.root)
    if record is None or record.instance_id != host.instance:
        begun = Record(agent=hsm_enrol.__version__, instance_id=host.instance, tx=state.NO_TX)
        record = begun if host.record is None else host.record
    memory = memory_of(pin_id, reached, answer.serial)
    due = due_after_try(answer, reached) or record.receipt_due
    if reached == "tried" and due is not None and due.nonce == answer.nonce:
        due = None  # "accepted" was true of an earlier member; of this one nothing is known
    record = dataclasses.replace(record, pin=memory, receipt_due=due)
    if record.is_empty:
        files.remove_file(RECORD, root=host.root)
    else:
        state.write_record(record, host.root)


def memory_of(pin_id: str | None, reached: str, serial: int) -> PinMemory | None:
    """Give the record's entry; None when no try was spent."""
    return None if pin_id is None or reached == UNSPENT else PinMemory(id=pin_id, state=reached, serial=serial)
