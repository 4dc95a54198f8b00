"""`check` in a whole world: what the appliances do to a host that was enrolled for real."""

from hsm_enrol.check import check
from hsm_enrol.checks.finding import Finding
from hsm_enrol.facts.look import Look
from lab.world import World
from tests.story.conftest import MakeWorld


def checked(world: World, *subjects: str) -> list[Finding]:
    """Give the findings about some subjects."""
    found = check(Look(settings_path=str(world.config), root=str(world.root)))
    return [one for one in found if one.about in subjects]


def levels(found: list[Finding]) -> list[str]:
    return [one.level for one in found]


def test_where_between_a_host_and_its_hsms_it_is_stuck(make_world: MakeWorld) -> None:
    world = make_world(named=False)
    assert world.agent("enrol").returncode == 0
    first, second = world.estate.appliances
    assert levels(checked(world, "appliances", "members", "drift", "certificates")) == ["ok"] * 6
    tries = world.estate.tries

    first.ipcheck = second.ipcheck = True
    stuck = checked(world, "appliances", "members")
    assert levels(stuck) == ["ok", "ok", "fail"]
    assert "ntls ipcheck show" in stuck[-1].hint
    first.ipcheck = second.ipcheck = False

    first.down = True
    stuck = checked(world, "appliances", "members")
    assert levels(stuck) == ["fail", "ok", "warn", "ok"]
    assert stuck[0].line == f"{first.host} port {first.port}: Connection refused"
    first.down = False

    pair = first.pair
    first.rekey()
    assert "not the one in the bundle" in checked(world, "appliances")[0].line
    first.rekey(pair)

    second.forget(world.estate.client_name)
    assert "does not accept our client certificate" in checked(world, "appliances")[1].line
    assert world.estate.tries == tries  # nothing of all this spends a PIN try


def test_an_old_client_with_a_linked_conf_is_told_and_enrols_and_the_link_stays(make_world: MakeWorld) -> None:
    world = make_world(generation="5.1", appliances=1, client={"linked": True})
    conf = world.root / "etc/Chrystoki.conf"
    target = conf.readlink()
    before = checked(world, "tools", "luna", "places")
    assert [one.line for one in before if one.level == "warn"] == ["vtl prints no version: the client is older than 10"]
    assert any("is a symbolic link to" in one.line for one in before)
    assert world.agent("enrol").returncode == 0
    assert conf.readlink() == target
    assert levels(checked(world, "places")) == ["ok"]
