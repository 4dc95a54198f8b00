"""Knows how a host joins with the client's own tools, once: they add what they can, the editor finishes the rest.

Tools only add, and only at the first join; every later change is the editor's. What a tool declines (no haAdmin, the
PIN only as an argument, objects on the partition, an appliance that is away) is no failure; an error, a time-out or
damage is. The PIN is typed at the tool's own prompt and spends at most one try a partition.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from hsm_enrol import chrystoki, luna, plan
from hsm_enrol.errors import EnrolError, NoSlots, PinRefused, ToolFailed, ToolTimeout
from hsm_enrol.host import files, signals
from hsm_enrol.host.act import Bench, Hand, pin_state
from hsm_enrol.host.conf_file import read_conf
from hsm_enrol.host.folders import below
from hsm_enrol.host.site import Site, understood
from hsm_enrol.host.state import SERVER_PEM
from hsm_enrol.host.tools import ToolRun
from hsm_enrol.host.voice import Voice
from hsm_enrol.model import Desired, RunTool, Seen, Server, Step
from hsm_enrol.pin_use import PinUse
from hsm_enrol.plan import Former
from hsm_enrol.shapes import dataclass
from hsm_enrol.tool_runs import fault_of, plain, show_groups
from hsm_enrol.wire.addresses import meant_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """One join: what is wanted, where, and with which hands."""

    desired: Desired
    former: Former
    site: Site
    hand: Hand
    bench: Bench
    voice: Voice
    pin: PinUse

    def by_tools(self) -> None:
        """Lay down pair and pointers, register the appliances, found the group and add its members.

        Raises ToolFailed, ToolTimeout, ToolDamage, NoSlots, PinRefused, ClientMissing, Interrupted.
        """
        seen = self.site.look(self.desired, self.former)
        with understood(self.site.conf):
            steps = plan.prelude(self.desired, seen)
        self._carry_out(steps, seen)
        self._register_servers()
        self._trust_servers()
        if self._group_is_there():
            return
        listed = self._list_partitions()
        present = [serial for serial in self.desired.ha.members if serial in listed]
        if not present and self._members_are_hidden():
            self.voice.warn(
                "no member is visible, and this client shows groups alone; the group is written into the conf"
            )
            return
        if not present:
            raise NoSlots
        away = [serial for serial in self.desired.ha.members if serial not in listed]
        for serial in away:
            self.voice.warn(f"member {serial} is not visible now; it is written into the group all the same")
        if not self.pin.usable:
            return
        self._found_group(present)

    def _carry_out(self, steps: tuple[Step, ...], seen: Seen) -> None:
        for step in steps:
            self.hand.carry_out(step, seen)  # type: ignore[arg-type]  # a prelude holds neither tools nor needs
            seen = self.site.look(self.desired, self.former)

    def _trust_servers(self) -> None:
        """Put right what `addServer` does not: a port of its own, an appliance that had another certificate before."""
        seen = self.site.look(self.desired, self.former)
        with understood(self.site.conf):
            steps = plan.trust(self.desired, seen, self.former)
        self._carry_out(steps, seen)

    def _register_servers(self) -> None:
        try:
            for server in self.desired.servers:
                if not self._registered(server.address):
                    self._register(server)
        finally:
            files.drop_file(SERVER_PEM, root=self.site.root)

    def _register(self, server: Server) -> None:
        self.voice.step("register", f"vtl addServer -n {server.address}")
        files.put_file(SERVER_PEM, server.certificate.encode("ascii"), root=self.site.root)
        words = luna.add_server(server.address, below(self.site.root, SERVER_PEM))
        ran = self._run("vtl", words, luna.MAY_ADD_SERVER)
        there = self._registered(server.address)
        fine = ran.status == 0 and luna.added(ran.output) and not luna.is_error(ran.output)
        if not (there and (fine or luna.already_registered(ran.output))):
            raise ToolFailed(tool="vtl", command="addServer", what=fault_of(ran, done=there))

    def _registered(self, address: str) -> bool:
        conf = read_conf(self.site.conf, self.site.root)
        with understood(self.site.conf):
            names = [meant_by(one.name) for one in chrystoki.servers(chrystoki.parse(conf.text)).values()]
        return meant_by(address) in names

    def _list_partitions(self) -> set[str]:
        self.voice.step("verify", "vtl verify")
        ran = self._run("vtl", luna.verify(), ())
        found = luna.partitions(ran.output)
        if found is None:
            raise ToolFailed(tool="vtl", command="verify", what=fault_of(ran, done=False))
        return {one.serial for one in found}

    def _group_is_there(self) -> bool:
        # One of ours under its former label is renamed by the editor.
        ours = {self.desired.ha.label, self.former.label or self.desired.ha.label}
        return any(one.label in ours for one in self._groups())

    def _groups(self) -> tuple[chrystoki.GroupEntry, ...]:
        conf = read_conf(self.site.conf, self.site.root)
        with understood(self.site.conf):
            return tuple(chrystoki.groups(chrystoki.parse(conf.text)).values())

    def _members_are_hidden(self) -> bool:
        """Tell whether the client was told to show groups alone: then the proof has to ask for the members' state."""
        conf = read_conf(self.site.conf, self.site.root)
        with understood(self.site.conf):
            return chrystoki.get(chrystoki.parse(conf.text), chrystoki.HA, "HAOnly") == "1"

    def _found_group(self, present: list[str]) -> None:
        spoken = show_groups(self._plain, self.desired.ha.label)
        if spoken is None:
            self.voice.warn("this client has neither haAdmin nor hagroup; the group is written into the conf")
            return
        dialect, _ = spoken
        label, founder = self.desired.ha.label, present[0]
        self.voice.step("group", f"{luna.program(dialect)} creates {label} on member {founder}")
        ran = self._run_with_pin(luna.program(dialect), luna.new_group(dialect, label, founder), "founds the group")
        if ran is None:
            return
        number = self._group_number() or luna.group_number(ran.output) or ""
        for member in present[1:]:
            self.voice.step("group", f"{luna.program(dialect)} adds member {member}")
            words = luna.add_member(dialect, label, number, member)
            if self._run_with_pin(luna.program(dialect), words, "adds a member", member=member) is None:
                return

    def _group_number(self) -> str | None:
        return next((one.serial for one in self._groups() if one.label == self.desired.ha.label), None)

    def _members(self) -> tuple[str, ...]:
        return next((one.members for one in self._groups() if one.label == self.desired.ha.label), ())

    def _run_with_pin(self, tool: str, words: tuple[str, ...], what: str, *, member: str = "") -> ToolRun | None:
        """Run a tool that asks for the PIN; None when it declined, so that the editor has to finish.

        Raises PinRefused on the first refusal: no other tool gets the PIN then.
        """
        signals.stop_if_asked()
        before = self.pin.begin()
        if signals.pending():  # while the verifier was told: the PIN is not typed any more
            self.pin.end(before)
            signals.stop_if_asked()
        objects: list[str] = []
        bench = dataclasses.replace(self.bench, question=_listening(self.bench, objects))
        step = RunTool(tool=tool, words=words, asks_pin=True, may_change=luna.MAY_GROUP)
        try:
            ran = self.hand.tool(step, bench, self.pin.value)
        except EnrolError:
            self.pin.end("tried")  # also where an earlier member took it: about this one nothing is known
            raise
        changed = self._members()
        there = member in changed if member else bool(changed)
        fine = ran.status == 0 or (ran.status is not None and luna.is_done(ran.output))
        done = fine and not luna.is_error(ran.output) and there
        refused = ran.pin_sent and luna.pin_refused(ran.after_pin)
        self.pin.end(pin_state(before, ran, done=done, refused=refused))
        if refused:
            raise PinRefused(pin_id=self.pin.id or "")
        if done:
            return ran
        command = self.bench.verb(step)
        if ran.timed_out:
            raise ToolTimeout(tool=tool, command=command, seconds=round(bench.timeout))
        declined = not there and not ran.pin_sent and luna.is_usage(ran.output)
        quitted = bool(objects) and bench.existing_objects == "quit" and not there
        if quitted or declined:
            why = "objects are on the partition already" if quitted else "it does not ask for the PIN at a prompt"
            self.voice.warn(f"{tool} {command} declined ({why}); the editor {what}")
            return None
        raise ToolFailed(tool=tool, command=command, what=fault_of(ran, done=there))

    def _run(self, tool: str, words: tuple[str, ...], may_change: tuple[tuple[str, str], ...]) -> ToolRun:
        return self._plain(RunTool(tool=tool, words=words, may_change=may_change))

    def _plain(self, step: RunTool) -> ToolRun:
        return plain(lambda one: self.hand.tool(one, self.bench), self.bench)(step)


def _listening(bench: Bench, objects: list[str]) -> Callable[[str], str | None]:
    """Give the bench's question with an ear for the one about existing objects."""

    def question(tail: str) -> str | None:
        kind = bench.question(tail)
        if kind == "objects":
            objects.append(kind)
        return kind

    return question
