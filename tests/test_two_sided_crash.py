"""Verifier killed at each edge of its ledger, messages lost or doubled, asker rebooted or raced: all in combination.

Afterwards the instance is installed, or an operator can name its state; no slot was ever answered to two keys; the
audit's chain is whole. HSM_ENROL_EVERY_CROSSING=1 tries every combination, else a part that is the same each time.
"""

import itertools
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from hsm_enrol.wire.answer import Answer, verify_answer
from hsm_enrol.wire.assertion import verify_assertion
from hsm_enrol.wire.keys import PublicJwk
from tests.adversary.crashing import PRELOAD, Crashing
from tests.adversary.failpoints import STEPS
from tests.adversary.party import Party, Subject
from tests.adversary.relay import MODES
from tests.adversary.site import Site
from tests.adversary.zygote import Zygote

EVERY = bool(os.environ.get("HSM_ENROL_EVERY_CROSSING"))
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
CHOSEN = ALL if EVERY else random.Random(1).sample(ALL, 40)


@pytest.fixture(scope="module")
def crashing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashing]:
    folder = tmp_path_factory.mktemp("crashing")
    site = Site(folder)
    site.publish_all()
    (folder / "edges").mkdir()
    with Zygote(*PRELOAD) as zygote:
        made = Crashing(site, zygote, folder / "edges")
        with made.relay:
            yield made
        made.end()
    site.stop()


class Story:
    """One instance that does not give up, through one set of troubles."""

    def __init__(self, crashing: Crashing, troubles: Troubles) -> None:
        self.crashing, self.troubles = crashing, troubles
        outside = crashing.site.party()
        relayed = Party(
            url=crashing.relay.url,
            ca_file=outside.ca_file,
            audience=outside.audience,
            answer_keys=outside.answer_keys,
        )
        self.subject = Subject(relayed, crashing.site.launch().identity)
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


@pytest.mark.timeout(60 + len(CHOSEN))
def test_whatever_dies_or_is_lost_one_key_is_served_and_ends_installed_or_named(crashing: Crashing) -> None:
    ends: Counter[str] = Counter()
    first: dict[str, bytes] = {}
    for troubles in CHOSEN:
        story = Story(crashing, troubles)
        seen = len(crashing.relay.bodies)
        end = story.run()
        ends[end] += 1
        mine = [one for one in crashing.relay.answered if one.instance == story.subject.id]
        owners = {one.owner for one in mine}
        assert len(owners) == 1, (troubles, owners)
        ((owner, state),) = [value for key, value in crashing.slots().items() if key[0] == story.subject.id]
        assert owners == {owner}, troubles
        if end == "installed":
            assert state == "CONFIRMED", troubles
        else:
            assert end == "already_enrolled", troubles
            assert troubles.rival != "alone", troubles
            assert owner == PublicJwk.from_key(story.rival.key.public_key()).thumbprint, troubles
        first[story.subject.id] = crashing.relay.bodies[seen]
        for left in crashing.edges.iterdir():  # an edge that was never come to: the message before it was lost
            left.unlink()
        crashing.relay.plan.clear()
    print(f"\ntwo-sided crash: {len(CHOSEN)} of {len(ALL)} combinations, {crashing.deaths} deaths, ends {dict(ends)}")
    assert crashing.deaths > len(CHOSEN) / 2
    assert ends["installed"] > len(CHOSEN) / 4
    assert crashing.audit_holds() > len(CHOSEN)
    crashing.settle()
    replayed(crashing, first)


def replayed(crashing: Crashing, first: dict[str, bytes]) -> None:
    """Send first assertions once more, after all is over: nobody but its author gains by it."""
    before, party = crashing.slots(), crashing.site.party()
    for instance, body in list(first.items())[-20:]:
        reply = party.enrol(body, patient=False)
        if reply.status == 200:
            serial = verify_answer(reply.body, party.answer_keys).serial
            assert before[instance, serial][0] == verify_assertion(body).cnf.thumbprint
    after = crashing.slots()
    assert {key: owner for key, (owner, _) in after.items()} == {key: owner for key, (owner, _) in before.items()}
