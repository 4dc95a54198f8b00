"""Knows what is told when nothing is wrong: each event with its journal message id, beside those of errors/.

`subject` and `text` are templates over fields of the journal entry: `{step}` is HSM_ENROL_STEP. They are what
`journalctl -x` shows; the line itself is worded where it is said.
"""

from __future__ import annotations

from hsm_enrol.shapes import dataclass

PREFIX = "HSM_ENROL_"  # of every journal field of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One kind of journal entry. The id is never used for anything else, and never changed; `word` names it."""

    word: str
    message_id: str
    subject: str
    text: str


STEP = Event(
    word="step",
    message_id="6436c7d9cc6445b8806c53038e351287",
    subject="step {step} began",
    text="hsm-enrol works on instance {instance}. Each step tells that it begins; a fault after it names it.",
)
WAITING = Event(
    word="waiting",
    message_id="07303ca8d11b4a399ff195a024d40bf3",
    subject="hsm-enrol waits and tries again",
    text="Something that often passes by itself stands in the way; the line says what. Nothing has to be done before the deadline in hsm-enrol.toml is over.",
)
WARNED = Event(
    word="warned",
    message_id="3bd77a551559446486a77e6552caf372",
    subject="hsm-enrol found something that is not right",
    text="The run goes on. The line says what it is; `hsm-enrol check` looks at everything that can be seen on this host.",
)
JOINED = Event(
    word="joined",
    message_id="1ccfcbee55784bc2a7e411faa1366ac1",
    subject="instance {instance} joined its HSM group",
    text="The bundle of verifier {verifier} is installed and the Luna tools show the group. `hsm-enrol status` shows what there is.",
)
CHANGED = Event(
    word="changed",
    message_id="ad1c5a89dea24b66b793a9b23845df06",
    subject="instance {instance} changed to a newer bundle",
    text="The verifier {verifier} had published a newer bundle; it is installed. Applications keep their sessions until they are restarted.",
)
MENDED = Event(
    word="mended",
    message_id="087746d939f144c9ad79314577bc474e",
    subject="instance {instance} was mended",
    text="This host differed from what was installed and was put right from the record; no verifier was asked.",
)
CURRENT = Event(
    word="current",
    message_id="411e98b4c86a42f1ad6f62b8571dc9d5",
    subject="nothing newer for instance {instance}",
    text="The verifier {verifier} signed that the installed bundle is the current one.",
)
NOTHING = Event(
    word="nothing",
    message_id="606dd8ad885f488c90fd33284a5f36d1",
    subject="instance {instance} is a member already",
    text="Everything is as it was installed; nobody was asked and nothing was changed.",
)
LEFT = Event(
    word="left",
    message_id="ef1d64ab158f485c830c048208d11d13",
    subject="this host left its HSM group",
    text="Configuration, certificates, keys and record of hsm-enrol are gone. Applications that hold sessions have to be restarted.",
)

OUTCOMES = {event.word: event for event in (JOINED, CHANGED, MENDED, CURRENT, NOTHING, LEFT)}
"""How a run ends well."""
EVENTS = (STEP, WAITING, WARNED, *OUTCOMES.values())


def field_of(fact: str) -> str:
    """Give the journal field that holds a fact."""
    return PREFIX + fact.upper()
