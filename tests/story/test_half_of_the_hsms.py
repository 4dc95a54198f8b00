"""One appliance is away: the host joins with a warning that names why, and is whole when the appliance is back.

None is there: it says which of three things it is, and nothing is changed.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hsm_enrol.host import peer
from lab.luna.estate import Estate
from tests.played_host import PlayedHost
from tests.story.conftest import MakeWorld


def test_with_one_of_two_down_it_joins_warns_and_is_repaired_by_the_next_run(make_world: MakeWorld) -> None:
    world = make_world(named=False)
    second = world.estate.appliances[1]
    second.down = True
    ran = world.agent("enrol")
    assert ran.returncode == 0, ran.stderr
    down = world.estate.members[1]
    assert f"warning: member {down} is not visible now; it is written into the group all the same" in ran.stderr
    assert f"warning: member {down} of {world.estate.label} is down" in ran.stderr
    assert f"warning: appliance {second.host} port {second.port}: Connection refused" in ran.stderr
    assert world.estate.tries == 1
    assert world.show().count("alive") == 1
    assert f"member {down} is down" in (status := world.agent("status")).stdout + status.stderr
    second.down = False
    for command in ("enrol", "refresh"):
        ran = world.agent(command)
        assert (ran.returncode, "warning" in ran.stderr) == (0, False), ran.stderr
    assert world.show().count("alive") == 2
    assert world.estate.tries == 1
    assert world.agent("status").returncode == 0


@pytest.fixture
def estate() -> Iterator[Estate]:
    with Estate() as running:
        yield running


@pytest.mark.parametrize("generation", ["5.1", "6.2", "10.4"])
@pytest.mark.parametrize("away", [0, 1])
def test_whichever_is_away_the_group_has_both(estate: Estate, tmp_path: Path, generation: str, away: int) -> None:
    host = PlayedHost(tmp_path / "host", estate, generation)
    estate.appliances[away].down = True
    host.take()
    estate.appliances[away].down = False
    found = {value for (_, key), value in host.meaning.items() if key.endswith("Members")}
    assert {frozenset(one.split(",")) for one in found} == {frozenset(estate.members)}
    assert [one.tries for one in estate.partitions] == [int(at != away) for at in range(2)]
    assert host.mend() is False


def all_down(estate: Estate) -> None:
    for one in estate.appliances:
        one.down = True


def all_rekeyed(estate: Estate) -> None:
    for one in estate.appliances:
        one.rekey()


def all_forgot_us(estate: Estate) -> None:
    for one in estate.appliances:
        one.forget(estate.client_name)


def all_check_addresses(estate: Estate) -> None:
    for one in estate.appliances:
        one.ipcheck = True


def all_hang(estate: Estate) -> None:
    for one in estate.appliances:
        one.hangs = True


def one_down_one_checks_addresses(estate: Estate) -> None:
    estate.appliances[0].down = True
    estate.appliances[1].ipcheck = True


@pytest.mark.parametrize("join", ["tool", "config"])
@pytest.mark.parametrize(
    ("trouble", "reason", "words"),
    [
        (all_down, "appliances_unreachable", "Connection refused"),
        (all_hang, "appliances_unreachable", "no answer in time"),
        (all_rekeyed, "certificate_not_accepted", "its certificate is not the one in the bundle"),
        (all_forgot_us, "certificate_not_accepted", "it does not accept our client certificate"),
        (all_check_addresses, "no_slots", "no partition of this group is visible"),
        (one_down_one_checks_addresses, "no_slots", "no partition of this group is visible"),
    ],
)
def test_what_stands_between_is_told_apart(
    estate: Estate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    trouble: Callable[[Estate], None],
    reason: str,
    words: str,
    join: str,
) -> None:
    monkeypatch.setattr(peer, "PATIENCE", 0.5)
    host = PlayedHost(tmp_path / "host", estate, "6.2", join=join, receive_timeout=500)
    bundle = estate.bundle()
    trouble(estate)
    error = host.fails(lambda: host.take(bundle))
    assert (error.status, error.reason) == (69, reason)
    assert words in error.fault()
    assert ("ipcheck" in error.advice()) == (reason == "no_slots")
    last = host.courier.told[-1]
    assert (last["result"], last["code"], last["pin"]) == ("failed", "no_slots", "untried")
    assert estate.tries == 0


def test_a_warning_for_a_dead_member_whose_appliance_lets_us_in_names_the_assignment(
    estate: Estate, tmp_path: Path
) -> None:
    host = PlayedHost(tmp_path / "host", estate, "6.2", join="config")
    estate.appliances[1].ipcheck = True
    host.take()
    said = host.said.getvalue()
    assert f"member {estate.members[1]} of {estate.label} is down" in said
    assert "TLS stands with every appliance: look at `ntls ipcheck`" in said
