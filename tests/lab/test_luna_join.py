"""Each generation of the client, joined by hand on a terminal as the agent does it."""

from pathlib import Path

import pytest

from hsm_enrol import luna
from lab.luna.estate import Estate
from tests.lab.luna_hand import DIALECT, GENERATIONS, Hand, host

# Appliances are threads of this process, so Python 3.12 and later warn of the fork; the real agent has no threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.mark.parametrize("generation", DIALECT)
def test_a_host_joins_by_the_tools_and_the_agents_words_understand_every_answer(
    generation: str, estate: Estate, tmp_path: Path
) -> None:
    hand = Hand(estate=estate, client=estate.install(generation, tmp_path))
    hand.join()
    assert hand.verify() == estate.members
    (shown,) = luna.groups(hand.show().output)
    assert (shown.label, shown.members, shown.alive) == (estate.label, estate.members, estate.members)
    assert shown.number == "1" + estate.members[0]
    assert shown.slot == {"5.1": 3, "5.4": 3, "6.2": 3, "7.3": 2, "10.4": 2}[generation]
    assert [one.tries for one in estate.partitions] == [1, 1]
    conf = hand.conf()
    assert conf["VirtualToken00Members"] == ",".join(estate.members)
    assert conf["VirtualToken00Label"] == estate.label
    assert conf[estate.label] == "1"
    calls = hand.client.calls()
    assert [one.pins for one in calls if one.command in {"newGroup", "addMember"}] == [1, 1]
    assert sum(one.pins for one in calls) == 2
    assert not any(one.pin_elsewhere or estate.pin in one.argv for one in calls)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_only_one_dialect_is_understood_and_the_others_spend_no_try(
    generation: str, estate: Estate, tmp_path: Path
) -> None:
    hand = host(estate, generation, tmp_path)
    understood = []
    for dialect in luna.DIALECTS:
        ran = hand.run(luna.program(dialect), *luna.new_group(dialect, "never", "9"), pin=estate.pin)
        if not luna.is_usage(ran.output):
            understood.append(dialect)
        assert not ran.pin_sent
    expected = {"5.1": ["vtl-dashed"], "5.4": ["vtl", "vtl-dashed"], "6.2": list(luna.DIALECTS), "silent": []}
    assert understood == expected.get(generation, ["lunacm"])
    assert estate.tries == 0


def test_the_silent_client_takes_the_pin_as_an_argument_only(estate: Estate, tmp_path: Path) -> None:
    hand = host(estate, "silent", tmp_path)
    words = luna.new_group("lunacm", estate.label, estate.members[0])
    assert luna.is_usage(hand.run("lunacm", *words, pin=estate.pin).output)
    assert estate.tries == 0
    given = hand.run("lunacm", *words, "-password", estate.pin)
    assert "Command Result : No Error" in given.output
    assert luna.group_number(given.output) == "1" + estate.members[0]
