"""What real estates bring together: ports of their own, groups and appliances of the site's, clients set up by hand."""

from pathlib import Path

import pytest

from hsm_enrol.host.site import DEFAULT_TOOL_TIMEOUT, Site
from hsm_enrol.record import desired_from_bundle
from hsm_enrol.status import read_status
from lab.luna.client import Switches
from lab.luna.estate import Estate
from tests.played_host import PlayedHost
from tests.story.test_repair import GROUP_OF_OTHERS

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


@pytest.mark.parametrize(
    ("old", "new", "seconds"),
    [
        ("", "", 10 + 2 * 25),
        ("NetClient = 1;", "NetClient = 1;\n   ServerName00 = theirs;\n   ServerName01 = 127.0.0.11;", 10 + 3 * 25),
        ("ReceiveTimeout = 20000;", "ReceiveTimeout = 60000;", 10 + 2 * 65),
        ("ReceiveTimeout = 20000;", "ReceiveTimeout = 100;", 10 + 2 * 25),
        ("ReceiveTimeout = 20000;", "ReceiveTimeout = 999999999;", 10 + 2 * 305),
        ("ReceiveTimeout = 20000;", "ReceiveTimeout = soon;", 10 + 2 * 25),
    ],
)
def test_a_tool_may_wait_in_vain_for_every_appliance_in_the_conf(
    old: str, new: str, seconds: float, estate: Estate, tmp_path: Path
) -> None:
    """The site's own appliances are asked too, each for as long as the client is told to wait."""
    host = played(estate, tmp_path, "7.3")
    host.client.conf.write_text(host.conf.replace(old, new))
    host.set(tool_timeout=DEFAULT_TOOL_TIMEOUT)
    site, bundle = Site.of(host.settings), estate.bundle()
    desired = desired_from_bundle(bundle, site.paths(bundle.client.name, bundle.client.certificate))
    assert site.bench(desired, None).timeout == seconds
    host.set(tool_timeout=7.0)
    assert Site.of(host.settings).bench(desired, None).timeout == 7.0


SITES_OWN = {
    "a line that is no entry": ("   Rack = b12;", "   Rack = b12;\n   see the wiki"),
    "a line without its semicolon": ("   Rack = b12;", "   Rack = b12"),
    "a key twice": ("   Rack = b12;", "   Rack = b12;\n   Rack = b13;"),
    "a section twice": ("Site = {", "Site = {\n   Rack = b13;\n}\nSite = {"),
}


@pytest.mark.parametrize("odd", SITES_OWN)
def test_an_odd_section_of_the_sites_is_no_damage_when_a_tool_rewrites_it(
    odd: str, estate: Estate, tmp_path: Path
) -> None:
    host = played(estate, tmp_path, "6.2")
    host.client.conf.write_text(host.conf.replace(*SITES_OWN[odd]))
    before = host.conf
    host.take()
    assert host.pins() == 2
    assert before[before.index("Site = {") :].rstrip() in host.conf
    host.leave()
    assert host.conf == before


@pytest.mark.parametrize("generation", ["5.4", "7.3"])
@pytest.mark.parametrize("there", ["our group", "the site's group"])
def test_a_client_that_shows_groups_alone_is_joined_though_verify_hides_the_members(
    generation: str, there: str, estate: Estate, tmp_path: Path
) -> None:
    host = played(estate, tmp_path, generation)
    host.client.switch(Switches(hides=True))
    ours = f"   VirtualToken00Label = {estate.label};\n   VirtualToken00Members = {','.join(estate.members)};\n"
    group = f"VirtualToken = {{\n{ours}}}\n" if there == "our group" else GROUP_OF_OTHERS
    host.client.conf.write_text(host.conf + group + "HAConfiguration = {\n   HAOnly = 1;\n}\n")
    assert host.take().how == "joined"
    assert host.pins() == 0
    host.mend()
    assert len(read_status(Site.of(host.settings), ask_tools=True).alive or ()) == 2


def test_hidden_members_that_nobody_shows_alive_are_no_slots(estate: Estate, tmp_path: Path) -> None:
    host = played(estate, tmp_path, "7.3")
    host.client.switch(Switches(hides=True))
    host.client.conf.write_text(host.conf + "HAConfiguration = {\n   HAOnly = 1;\n}\n")
    for one in estate.appliances:
        one.ipcheck = True
    assert host.fails(host.take).reason == "no_slots"


def test_a_status_of_lunacms_is_not_believed_over_its_words(estate: Estate, tmp_path: Path) -> None:
    """Documented: handling of return codes is not fully supported."""
    host = played(estate, tmp_path, "7.3")
    host.client.switch(Switches(status=12))
    assert host.take().how == "joined"
    assert host.pin_state == "accepted"
    assert host.pins() == 2


def test_without_its_tools_nothing_shows_that_a_client_joined(estate: Estate, tmp_path: Path) -> None:
    """So `check` fails there, by whatever way the host is to join."""
    host = played(estate, tmp_path, "7.3", "config")
    Path(host.client.tool("vtl")).unlink()
    assert host.fails(host.take).reason == "client_missing"
