"""What real estates bring together: ports of their own, groups and appliances of the site's, clients set up by hand."""

from pathlib import Path

import pytest

from lab.luna.client import Switches
from lab.luna.estate import Estate
from tests.played_host import PlayedHost

# Appliances are threads of this process, so Python 3.12 and later warn of the fork; the real agent has no threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def played(estate: Estate, tmp_path: Path, generation: str, join: str = "tool", **options: object) -> PlayedHost:
    host = PlayedHost(tmp_path / "host", estate, generation, join=join, **options)
    host.set()
    return host


@pytest.mark.parametrize("generation", ["5.1", "10.4"])
def test_appliances_on_ports_of_their_own_are_found_there_by_the_tools(
    generation: str, estate: Estate, tmp_path: Path
) -> None:
    """What `addServer` writes is 1792, whatever the bundle has."""
    host = played(estate, tmp_path, generation)
    host.client.switch(Switches(ports=True))
    assert host.take().how == "joined"
    assert host.pins() == 2
    assert host.mend() is False


def test_a_minimal_client_is_found_by_its_conf_alone(estate: Estate, tmp_path: Path) -> None:
    """Its tools lie in bin/64, its certificates in config/certs."""
    host = played(estate, tmp_path, "10.4", minimal=True)
    host.set(prefix="")
    before = host.files()
    assert host.take().how == "joined"
    assert host.pins() == 2
    assert len(list(host.client.below("config/certs").glob("web-*Key.pem"))) == 1
    host.leave()
    assert host.files() == before
