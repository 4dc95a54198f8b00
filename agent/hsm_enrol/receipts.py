"""Knows how to tell the verifier what became of its answer: `trying`, `installed`, `failed`."""

from __future__ import annotations

import dataclasses

from hsm_enrol.at_work import Host
from hsm_enrol.errors import EnrolError, Interrupted, Refused
from hsm_enrol.host import state
from hsm_enrol.host.state import Owner
from hsm_enrol.record import ReceiptDue, Record
from hsm_enrol.wire.answer import Answer
from hsm_enrol.wire.receipt import Receipt, sign_receipt

PATIENCE = 30.0  # seconds for a last word: what it is about has happened, and `refresh` can say it later
_BY_REASON = {
    "no_slots": "no_slots",
    "appliances_unreachable": "no_slots",
    "certificate_not_accepted": "no_slots",
    "pin_refused": "pin_refused",
    "interrupted": "interrupted",
}
_BY_STATUS = {
    69: "tool_failed",
    73: "cannot_write",
    76: "answer_rejected",
    77: "answer_rejected",
    78: "answer_rejected",
}


def tell_trying(host: Host, owner: Owner, answer: Answer) -> None:
    """Say that the first tool is about to get the PIN; returns only on the verifier's 204.

    Raises Refused when the verifier knows no such slot of ours, TryLater when the trial is another's by now.
    """
    receipt = _receipt(host, answer, result="trying", pin="untried")
    if not host.courier.tell(sign_receipt(receipt, owner.key)):
        raise Refused(reason="not_admitted", decision="-")


def tell_failed(host: Host, owner: Owner, answer: Answer, error: EnrolError, pin_state: str) -> None:
    """Say that it did not work. That this cannot be said is a warning: the run's own error matters more.

    After a try of unknown outcome nothing is told: the end of the lease counts that try, a receipt would free it (V13).
    Nor when a signal came after the commit: it did work, and the record owes the receipt that says so.
    """
    if pin_state == "tried" or _is_installed(host, answer):
        return
    code = _BY_REASON.get(error.reason) or _BY_STATUS.get(error.status, "not_converged")
    pin = {"accepted": "accepted", "refused": "refused"}.get(pin_state, "untried")
    receipt = _receipt(host, answer, result="failed", pin=pin, code=code)
    try:
        told = host.courier.tell(sign_receipt(receipt, owner.key), seconds=PATIENCE)
    except EnrolError as failure:
        host.run.voice.warn(f"the verifier could not be told: {failure.fault()}")
        return
    record = state.read_record(host.root)
    if told and record is not None and record.receipt_due and record.receipt_due.nonce == answer.nonce:
        state.write_record(dataclasses.replace(record, receipt_due=None), host.root)


def _is_installed(host: Host, answer: Answer) -> bool:
    """Tell whether the record says that what this answer brought is installed."""
    record = state.read_record(host.root)
    due = record.receipt_due if record is not None else None
    return due is not None and (due.nonce, due.result) == (answer.nonce, "installed")


def due_after_try(answer: Answer, pin_state: str) -> ReceiptDue | None:
    """Give the receipt that is owed if this run dies now: how the PIN fared is known, and a fleet waits for it."""
    if pin_state not in {"accepted", "refused"}:
        return None
    return ReceiptDue(
        nonce=answer.nonce,
        jti=answer.jti,
        serial=answer.serial,
        result="failed",
        code="interrupted" if pin_state == "accepted" else "pin_refused",
        pin=pin_state,
    )


def due_for(answer: Answer, pin_state: str) -> ReceiptDue:
    """Give the receipt that the record owes once an installation is committed."""
    pin = "accepted" if pin_state == "accepted" else "unused"
    return ReceiptDue(nonce=answer.nonce, jti=answer.jti, serial=answer.serial, result="installed", pin=pin)


def settle_due(host: Host, *, last: bool = False) -> None:
    """Send the receipt that the record owes; that it could not be sent is a warning, `refresh` tries again.

    A signal ends the run, unless this is the `last` that it has to do. Raises Interrupted.
    """
    record = state.read_record(host.root)
    if record is None or record.receipt_due is None or record.instance_id != host.instance:
        return
    host.run.voice.step("tell", "the verifier how it went")
    try:
        _send_due(host, record, record.receipt_due)
    except EnrolError as failure:
        if isinstance(failure, Interrupted) and not last:
            raise
        host.run.voice.warn(f"the receipt is still due: {failure.fault()}")


def _send_due(host: Host, record: Record, due: ReceiptDue) -> None:
    """Send it; that another key has the slot by now is for a person to know. Raises what Courier.tell raises."""
    receipt = Receipt(
        aud=host.audience,
        sub=host.instance,
        jti=due.jti,
        nonce=due.nonce,
        serial=due.serial,
        result=due.result,
        code=due.code,
        pin=due.pin,
    )
    owner = state.owner_for(host.instance, host.root)
    if host.courier.tell(sign_receipt(receipt, owner.key), seconds=PATIENCE):
        state.write_record(dataclasses.replace(record, receipt_due=None), host.root)
    else:
        look = f"`hsm-verifier audit find {host.instance}`"
        host.run.voice.warn(f"the receipt is still due: the verifier has no slot that this host's key owns; see {look}")


def _receipt(host: Host, answer: Answer, *, result: str, pin: str, code: str | None = None) -> Receipt:
    return Receipt(
        aud=host.audience,
        sub=host.instance,
        jti=answer.jti,
        nonce=answer.nonce,
        serial=answer.serial,
        result=result,
        code=code,
        pin=pin,
    )
