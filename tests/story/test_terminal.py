"""What a person at a terminal of 80 columns sees of real runs, and what a script reads."""

import re
from collections.abc import Iterator

import pytest

from lab.party import environment
from lab.world import World
from tests.screen import run_on_a_terminal, screen


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("terminal")) as made:
        yield made


def at_a_terminal(world: World, *words: str, **more: str) -> tuple[int, str]:
    return run_on_a_terminal(world.argv(*words), environment(TERM="xterm", **more))


def test_a_first_boot_watched_by_a_person(world: World) -> None:
    status, written = at_a_terminal(world, "enrol")
    assert status == 0
    shown = screen(written)
    steps = [re.fullmatch(r"hsm-enrol: ([a-z]*) +(.*?) +(\d+\.\d) s", line) for line in shown[:-1]]
    names = [step[1] for step in steps if step and step[1]]
    assert names == [
        "identify", "ask", "install", "register", "register", "verify", "group", "trial", "group", "prove", "tell",
    ]  # fmt: skip
    assert shown[-1].startswith("hsm-enrol: joined: serial ")
    assert "\x1b[32mhsm-enrol: joined" in written
    print("\n".join(shown))


def test_every_request_is_shown_to_the_curious_without_a_secret_and_without_colours(world: World) -> None:
    status, written = at_a_terminal(world, "-v", "refresh", NO_COLOR="1")
    assert status == 0
    shown = screen(written)
    assert not re.search(r"\x1b\[[0-9;]*m", written)
    joined = " ".join(line.removeprefix("hsm-enrol:").strip() for line in shown)
    for request in ("PUT .*/latest/api/token", "GET .*/security-credentials/ec2-instance", "GET .*/v1/challenge"):
        assert re.search(rf"{request}: 200, \d+ bytes", joined), request
    assert re.search(r"POST .*/v1/enrolments: 200, \d+ bytes", joined)
    credentials = world.machine.credentials
    for secret in (credentials.secret_access_key, credentials.session_token, world.estate.pin):
        assert secret not in written.replace("\n           ", "")
    assert shown[-1].startswith("hsm-enrol: current: serial ")


def test_waiting_for_a_verifier_that_is_away(world: World) -> None:
    world.party.stop()
    world.write_settings(deadline="2s")
    status, written = at_a_terminal(world, "refresh")
    assert status == 75
    shown = screen(written)
    assert any(re.match(r"hsm-enrol: waiting \d+ s, until \d\d:\d\d:\d\d: no verifier", line) for line in shown)
    assert re.match(r"hsm-enrol: ask +failed +\d\.\d s", next(line for line in shown if " failed " in line))
    assert shown[-1] == "hsm-enrol: next: hsm-enrol check"
    assert "\x1b[31mhsm-enrol: no verifier" in written
