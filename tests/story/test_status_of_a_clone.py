"""A clone that the verifier turned away is not healthy because its image was: the record is another instance's."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsm_enrol.cli.metrics import gauges
from hsm_enrol.host.site import Site
from hsm_enrol.idle import DMI
from hsm_enrol.status import Status, read_status
from lab.luna.estate import Estate
from tests.played_host import INSTANCE, PlayedHost

NOW = dt.datetime.now(dt.UTC)
CLONE = "i-0fedcba9876543210"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[PlayedHost]:
    with Estate() as estate:
        made = PlayedHost(tmp_path / "host", estate, "7.3", join="config")
        made.path(DMI).parent.mkdir(parents=True)
        yield made


def status(host: PlayedHost, firmware: str) -> Status:
    host.path(DMI).write_text(f"{firmware}\n")
    return read_status(Site.of(host.settings), ask_tools=True)


@pytest.mark.parametrize("firmware", [INSTANCE, "", "Amazon EC2"])
def test_the_instance_itself_and_one_that_firmware_does_not_name_are_healthy(host: PlayedHost, firmware: str) -> None:
    host.take()
    assert status(host, firmware).problems(NOW) == ()


def test_a_clone_is_not_healthy_until_it_has_joined_itself(host: PlayedHost) -> None:
    host.take()
    found = status(host, CLONE)
    (problem,) = found.problems(NOW)
    assert problem.startswith(f"this disk carries the state of {INSTANCE}, and this is {CLONE};")
    told = {one.name: one.values for one in gauges(found, None, NOW)}
    assert told["healthy"] == (((), 0.0),)
    host.instance = CLONE
    host.take(host.estate.bundle(serial=2))
    assert status(host, CLONE).problems(NOW) == ()
