"""Knows how to prove that the slot is there: the client's own tools say so, by exact label, with a member alive."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hsm_enrol import luna
from hsm_enrol.errors import NoSlots, NotProven
from hsm_enrol.host.ntls import Knock
from hsm_enrol.host.voice import Voice
from hsm_enrol.model import Desired, RunTool
from hsm_enrol.shapes import dataclass
from hsm_enrol.tool_runs import RunPlain, show_groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the tools show of our group: its number and slot (None: they do not say), the members that are alive."""

    serial: str | None
    slot: int | None
    alive: tuple[str, ...]


def prove(desired: Desired, run: RunPlain, voice: Voice, knocks: Callable[[], Sequence[Knock]]) -> Proof:
    """Ask `verify` and `haAdmin show`, or `hagroup listGroups`. Raises NoSlots, NotProven, ToolTimeout, ClientMissing.

    A text that is not understood proves nothing. Under HAOnly `verify` may hide members; alive rows count then.
    When a member is down the appliances are knocked at, so that the warnings name what stands behind it.
    """
    voice.step("prove", "vtl verify, and the group as the client shows it")
    verified = run(RunTool(tool="vtl", words=luna.verify()))
    listed = {one.serial for one in luna.partitions(verified.output) or ()}
    spoken = show_groups(run, desired.ha.label)
    groups = luna.groups(spoken[1].output) if spoken else ()
    shown = next((one for one in groups if one.label == desired.ha.label), None)
    alive = tuple(one for one in desired.ha.members if one in listed or (shown is not None and one in shown.alive))
    if not alive:
        raise NoSlots
    if shown is None:
        raise NotProven(label=desired.ha.label)
    _warn_of_dead(desired, alive, voice, knocks)
    return Proof(serial=shown.number, slot=shown.slot, alive=alive)


def _warn_of_dead(
    desired: Desired, alive: tuple[str, ...], voice: Voice, knocks: Callable[[], Sequence[Knock]]
) -> None:
    dead = [one for one in desired.ha.members if one not in alive]
    for serial in dead:
        voice.warn(f"member {serial} of {desired.ha.label} is down")
    if not dead:
        return
    faults = [one for one in knocks() if one.fault]
    for one in faults:
        voice.warn(f"appliance {one.line()}")
    if not faults:
        voice.warn("TLS stands with every appliance: look at `ntls ipcheck`, NAT and the partition's assignment")
