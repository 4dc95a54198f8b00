"""Verifier killed at each edge of its ledger, agent at each of its steps, messages lost or doubled, askers raced.

All in combination. Afterwards the instance is installed, or an operator can name its state; no slot was ever answered
to two keys; the audit's chain is whole. Two halves: an asker that is played (fast, with rivals), and the real agent.
HSM_ENROL_CROSSINGS=N tries so many combinations of each half (they are the same each time), a large N all of them;
they are dealt out to parts, so that `make crash` can spread them over the cores and show how far it is.
"""

import itertools
import json
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests
from _pytest.mark import ParameterSet

from hsm_enrol.wire.answer import Answer, verify_answer
from hsm_enrol.wire.assertion import verify_assertion
from hsm_enrol.wire.keys import PublicJwk
from lab.party import environment
from lab.world import World
from tests.adversary.crashing import PRELOAD, Crashing
from tests.adversary.failpoints import MESSAGES, STEPS
from tests.adversary.party import Subject
from tests.adversary.relay import MODES
from tests.adversary.site import Site
from tests.adversary.zygote import Zygote

ASKED = int(os.environ.get("HSM_ENROL_CROSSINGS", "0"))
RIVALS = ("alone", "a rival asks second", "a rival asks first")
DEATHS = ("", *STEPS)
RUNS = 8  # so often an asker comes back before this counts as "for ever"


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubles:
    """What happens to the first enrolment and to the first receipt."""

    enrol_death: str
    enrol_mode: str
    receipt_death: str
    receipt_mode: str
    rival: str


ALL = [
    Troubles(enrol_death=one, enrol_mode=two, receipt_death=three, receipt_mode=four, rival=five)
    for one, two, three, four, five in itertools.product(DEATHS, MODES, DEATHS, MODES, RIVALS)
]
CHOSEN = random.Random(1).sample(ALL, min(ASKED or 12, len(ALL)))
PART = 48  # combinations that one test tries


@dataclass(frozen=True)
class Bench:
    """A site and its mortal verifier."""

    site: Site
    crashing: Crashing


def parts(chosen: Sequence[object]) -> list[ParameterSet]:
    """How the chosen combinations are dealt out to tests, each about as many."""
    count = -(-len(chosen) // PART)
    return [pytest.param(slice(number, None, count), id=f"part {number + 1} of {count}") for number in range(count)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    site = Site(tmp_path_factory.mktemp("crashing"))
    site.publish_all()
    with Zygote(*PRELOAD) as zygote:
        crashing = Crashing(site.config, zygote)
        site.url = crashing.url
        with crashing.relay:
            yield Bench(site, crashing)
        crashing.end()
    site.stop()


class Story:
    """One instance that does not give up, through one set of troubles."""

    def __init__(self, bench: Bench, troubles: Troubles) -> None:
        self.crashing, self.troubles = bench.crashing, troubles
        relayed = replace(bench.site.party(), url=bench.crashing.relay.url)
        self.subject = Subject(relayed, bench.site.launch().identity)
        self.rival = self.subject.with_another_key()

    def run(self) -> str:
        """Go on until it is installed, or until an operator has to look: gives the state's name."""
        told, crashing = self.troubles, self.crashing
        if told.rival == "a rival asks first":
            self.asks(self.rival)
        crashing.arm("enrolments", told.enrol_death)
        crashing.relay.plan["enrolments"] = [told.enrol_mode]
        armed = False
        for number in range(RUNS):
            outcome = self.asks(self.subject)
            if number == 0 and told.rival == "a rival asks second":
                self.asks(self.rival)
            if isinstance(outcome, Answer):
                if not armed:
                    crashing.arm("receipts", told.receipt_death)
                    crashing.relay.plan["receipts"] = [told.receipt_mode]
                    armed = True
                if self.tells(outcome):
                    return "installed"
            elif outcome == "already_enrolled":
                return outcome
            self.subject = self.subject.next_run()  # rebooted: the owner key is on disk, the seal key was in memory
        return "for ever"

    def asks(self, who: Subject) -> Answer | str:
        """One enrolment: the answer, or why there is none."""
        try:
            request = who.request()
            reply = who.party.enrol(who.sign(request), patient=False)
        except requests.RequestException:
            return "no reply"
        if reply.status != 200:
            return reply.reason
        assert who.opened(request, reply) is not None
        return verify_answer(reply.body, who.party.answer_keys)

    def tells(self, answer: Answer) -> bool:
        """Send the receipt until it is taken, as `refresh` does with one that is due."""
        for _ in range(RUNS):
            try:
                return self.subject.told(answer).status == 204
            except requests.RequestException:
                continue
        return False


@pytest.mark.timeout(120 + 4 * PART)
@pytest.mark.parametrize("part", parts(CHOSEN))
def test_whatever_dies_or_is_lost_one_key_is_served_and_ends_installed_or_named(bench: Bench, part: slice) -> None:
    crashing, chosen = bench.crashing, CHOSEN[part]
    already = crashing.deaths
    ends: Counter[str] = Counter()
    first: dict[str, bytes] = {}
    for troubles in chosen:
        story = Story(bench, troubles)
        seen = len(crashing.relay.bodies)
        end = story.run()
        ends[end] += 1
        mine = [one for one in crashing.relay.answered if one.instance == story.subject.id]
        owners = {one.owner for one in mine}
        ((owner, state),) = [value for key, value in crashing.slots().items() if key[0] == story.subject.id]
        assert owners <= {owner}, (troubles, owners)  # none at all: taken, and dead before it was sent
        if end == "installed":
            assert (owners, state) == ({owner}, "CONFIRMED"), troubles
        else:
            assert end == "already_enrolled", troubles
            assert troubles.rival != "alone", troubles
            assert owner == PublicJwk.from_key(story.rival.key.public_key()).thumbprint, troubles
        first[story.subject.id] = crashing.relay.bodies[seen]
        crashing.disarm()
    deaths = crashing.deaths - already
    print(f"\ntwo-sided crash: {len(chosen)} of {len(ALL)} combinations, {deaths} deaths, ends {dict(ends)}")
    assert deaths > len(chosen) / 2
    assert ends["installed"] > len(chosen) / 4
    assert crashing.audit_holds() > len(chosen)
    crashing.settle()
    replayed(bench, first)


def replayed(bench: Bench, first: dict[str, bytes]) -> None:
    """Send first assertions once more, after all is over: nobody but its author gains by it."""
    before, party = bench.crashing.slots(), bench.site.party()
    for instance, body in list(first.items())[-20:]:
        reply = party.enrol(body, patient=False)
        if reply.status == 200:
            serial = verify_answer(reply.body, party.answer_keys).serial
            assert before[instance, serial][0] == verify_assertion(body).cnf.thumbprint
    after = bench.crashing.slots()
    assert {key: owner for key, (owner, _) in after.items()} == {key: owner for key, (owner, _) in before.items()}


# --- the real agent, killed at its steps


EXCHANGE = "hsm_enrol.host.exchange:Line.exchange"  # 1 challenge, 2 assertion, 3 receipt
PLACES = (
    "",
    "after hsm_enrol.host.state:owner_for 1",
    f"before {EXCHANGE} 1",
    f"before {EXCHANGE} 2",
    f"after {EXCHANGE} 2",
    "before hsm_enrol.install:install 1",
    "before hsm_enrol.join:Join.by_tools 1",
    "after hsm_enrol.join:Join.by_tools 1",
    "before hsm_enrol.host.undo:Journal.commit 1",
    "after hsm_enrol.host.undo:Journal.commit 1",
    f"before {EXCHANGE} 3",
    f"after {EXCHANGE} 3",
)
SIDES = [
    *((message, death, "pass") for message in MESSAGES for death in DEATHS),
    *((message, "", mode) for message in MESSAGES for mode in MODES[1:]),
    *((message, death, mode) for message in MESSAGES for death in STEPS for mode in ("answer lost", "twice")),
]
CROSSINGS = list(itertools.product(PLACES, SIDES, (False, True)))
CROSSED = random.Random(2).sample(CROSSINGS, min(ASKED or 4, len(CROSSINGS)))


class Town:
    """A world whose verifier is mortal and whose instance is another one each time."""

    def __init__(self, world: World, crashing: Crashing, agents: Zygote) -> None:
        self.world, self.crashing, self.agents = world, crashing, agents
        self.count = 0

    def move_in(self) -> None:
        """Launch the next instance, with a disk of its own."""
        world = self.world
        self.count += 1
        world.machine = world.aws.launch()
        world.imds.machine = world.machine
        world.root = world.folder / f"instance-{self.count}"
        world.config = world.root / "etc/hsm-enrol/hsm-enrol.toml"
        for place in ("etc/hsm-enrol", "var/lib", "run"):
            (world.root / place).mkdir(parents=True)
        world.client = world.estate.install("6.2", world.root, notes=world.folder / f"luna-{self.count}")
        world.write_settings(urls=(self.crashing.relay.url,))

    def agent(self, place: str = "") -> int:
        """Run the agent to its end, or to its death at a place; give the exit status."""
        main, argv = "hsm_enrol.__main__:main", [*self.world.argv("enrol")[3:]]
        if place:
            main, argv = "tests.story.kill_at:main", [*place.split(), "--", *argv]
        pid = self.agents.run(main, argv, log=self.world.folder / "agent.log", **environment())
        status = self.agents.wait(pid, 60)
        assert status is not None
        return status


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    world = World(tmp_path, pin=False)
    with ExitStack() as stack:
        for part in (world.aws, world.imds, world.estate):
            part.start()
            stack.callback(part.stop)
        world.serial = world.party.publish(world.bundle())
        serving = stack.enter_context(Zygote(*PRELOAD))
        agents = stack.enter_context(Zygote("hsm_enrol.cli.main", "hsm_enrol.enrol", "tests.story.kill_at"))
        crashing = Crashing(world.party.config, serving)
        stack.callback(crashing.end)
        stack.enter_context(crashing.relay)
        yield Town(world, crashing, agents)


@pytest.mark.timeout(120 + 12 * PART)
@pytest.mark.parametrize("part", parts(CROSSED))
def test_agent_and_verifier_die_in_turn_with_run_wiped_and_the_instance_is_installed(town: Town, part: slice) -> None:
    crashing, crossed, killed = town.crashing, CROSSED[part], 0
    for place, (message, death, mode), reboot in crossed:
        what = (place, message, death, mode, reboot)
        town.move_in()
        crashing.arm(message, death)
        crashing.relay.plan[message] = [mode]
        statuses = [town.agent(place)]
        killed += statuses[0] == -9
        if reboot:
            town.world.reboot()
        while statuses[-1] != 0 or due(town.world):
            assert len(statuses) < RUNS, (what, statuses)
            statuses.append(town.agent())
        assert set(statuses) <= {0, -9, 75}, (what, statuses)
        name = town.world.machine.instance_id
        owners = {one.owner for one in crashing.relay.answered if one.instance == name}
        slots = {key: value for key, value in crashing.slots().items() if key[0] == name}
        assert slots == {(name, town.world.serial): (owners.pop(), "CONFIRMED")}, (what, statuses)
        assert owners == set(), what
        crashing.disarm()
    print(
        f"\ntwo-sided crash, real agent: {len(crossed)} of {len(CROSSINGS)} combinations, "
        f"agent killed {killed} times, verifier {crashing.deaths} times, all installed"
    )
    assert crashing.audit_holds() > len(crossed)


def due(world: World) -> bool:
    """Whether the record still owes a receipt."""
    return "receipt_due" in json.loads((world.root / "var/lib/hsm-enrol/record.json").read_text())
