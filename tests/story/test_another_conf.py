"""The client's conf moved after the join, and the settings (or its own variable) name the new place."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hsm_enrol import chrystoki
from hsm_enrol.chrystoki import HA, TOKENS
from hsm_enrol.host.site import Site
from hsm_enrol.model import EditConf
from lab.luna.estate import Estate
from tests.played_host import PlayedHost

NEW = "/etc/luna/Chrystoki.conf"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[PlayedHost]:
    """A host that joined, and then has its conf elsewhere: as it was before the join."""
    with Estate() as estate:
        made = PlayedHost(tmp_path / "host", estate, "7.3", join="config")
        before = made.conf
        made.take()
        made.path("/etc/luna").mkdir()
        made.path(NEW).write_text(before)
        yield made


def steps(host: PlayedHost) -> list[str]:
    record, site = host.record, Site.of(host.settings)
    assert record is not None
    assert record.installed is not None
    desired = site.wanted_now(record.installed)
    seen = site.look(desired, record.former)
    return [one.path for one in site.plan(desired, record.former, seen) if isinstance(one, EditConf)]


@pytest.mark.parametrize("said", ["settings", "variable"])
def test_it_is_mended_from_the_record_and_the_old_one_is_left(
    host: PlayedHost, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, old = host.path(NEW).read_text(), host.conf
    if said == "settings":
        host.set(config=NEW)
    else:
        monkeypatch.setenv("ChrystokiConfigurationPath", "/etc/luna")
    assert steps(host) == [NEW]
    assert host.mend() is True
    found = chrystoki.meaning(chrystoki.parse(host.path(NEW).read_text()))
    assert found[TOKENS, "VirtualToken00Label"] == host.estate.label
    assert found[HA, "HAOnly"] == "1"
    assert host.conf == old
    assert host.mend() is False
    assert host.leave() is True
    assert host.path(NEW).read_text() == before
