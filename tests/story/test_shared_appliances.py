"""An appliance that the site uses too is the site's: it stays registered when we go, or when the bundle drops it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hsm_enrol.chrystoki import CLIENT, TOKENS
from hsm_enrol.model import der_of
from lab.luna.estate import Estate
from tests.played_host import PlayedHost
from tests.story.test_repair import GROUP_OF_OTHERS, other_appliance


@pytest.fixture
def estate() -> Iterator[Estate]:
    with Estate() as running:
        yield running


def shared(estate: Estate, tmp_path: Path, join: str, name: str) -> PlayedHost:
    """Give a host with a group of the site's on a partition of our first appliance, which is registered as `name`."""
    made = PlayedHost(tmp_path / "host", estate, "6.2", join=join)
    made.set()
    first = estate.appliances[0]
    rows = {"Name": name, "Port": str(first.port), "Htl": "0"}
    server = "".join(f"   Server{key}00 = {value};\n" for key, value in rows.items())
    text = made.conf.replace("   ReceiveTimeout", server + "   ReceiveTimeout") + GROUP_OF_OTHERS
    made.client.conf.write_text(text)
    for file in (f"{name}Cert.pem", "CAFile.pem"):
        path = made.client.below("cert/server") / file
        path.write_text(first.certificate)
        path.chmod(0o644)  # as vtl leaves it, whatever the umask is here
    return made


@pytest.mark.parametrize("join", ["tool", "config"])
@pytest.mark.parametrize("named", [False, True], ids=["by our address", "by another name"])
def test_the_host_is_given_back_byte_for_byte(estate: Estate, tmp_path: Path, join: str, *, named: bool) -> None:
    host = shared(estate, tmp_path, join, "hsm-a.site" if named else estate.appliances[0].host)
    before = host.files()
    host.take()
    host.mend()
    host.leave()
    assert host.files() == before


def test_a_bundle_without_the_appliance_leaves_it_to_the_site(estate: Estate, tmp_path: Path) -> None:
    host = shared(estate, tmp_path, "config", estate.appliances[0].host)
    host.take()
    first, third = estate.appliances[0], other_appliance(estate)
    with third:
        estate.appliances[0], estate._addresses[0] = third, third.host
        host.take(estate.bundle(serial=2))
        assert host.meaning[CLIENT, "ServerName00"] == first.host
        assert host.meaning[TOKENS, "VirtualToken00Members"] == "99"
        folder = host.client.below("cert/server")
        assert der_of((folder / f"{first.host}Cert.pem").read_text()) == der_of(first.certificate)
        assert first.certificate in (folder / "CAFile.pem").read_text()
        assert host.mend() is False
        host.leave()
        assert host.meaning[CLIENT, "ServerName00"] == first.host
        assert (CLIENT, "ServerName01") not in host.meaning
        assert (folder / "CAFile.pem").read_text() == first.certificate
    first.stop()


def test_what_a_lost_record_left_behind_is_not_the_sites(estate: Estate, tmp_path: Path) -> None:
    host = PlayedHost(tmp_path / "host", estate, "6.2", join="config")
    host.set()
    host.take()
    host.path("/var/lib/hsm-enrol/record.json").unlink()
    host.take(estate.bundle(serial=2))
    host.leave()
    assert not [key for _, key in host.meaning if key.startswith("ServerName")]


# --- the site's values with more than ASCII in them


def test_a_path_in_another_alphabet_is_given_back(estate: Estate, tmp_path: Path) -> None:
    host = PlayedHost(tmp_path / "host", estate, "6.2", join="config")
    host.set()
    conf = host.client.conf
    conf.write_bytes(
        conf.read_bytes().replace(b"localhostKey", "m\u00fcllerKey".encode()).replace(b"localhost", b"\xe9")
    )
    before = host.files()
    host.take()
    host.leave()
    assert host.files() == before


def test_a_group_in_another_alphabet_takes_our_number(estate: Estate, tmp_path: Path) -> None:
    host = PlayedHost(tmp_path / "host", estate, "6.2", join="config")
    host.set()
    host.take()
    rows = "".join(
        f"   VirtualToken01{key} = {value};\n" for key, value in (("Label", "Z\u00fcrich"), ("Members", "99"))
    )
    host.client.conf.write_text(host.conf.replace("   VirtualToken00Label", rows + "   VirtualToken00Label"))
    host.leave()
    assert (host.meaning[TOKENS, "VirtualToken00Label"], host.meaning[TOKENS, "VirtualToken00Members"]) == (
        "Z\u00fcrich",
        "99",
    )
    assert (TOKENS, "VirtualToken01Label") not in host.meaning
