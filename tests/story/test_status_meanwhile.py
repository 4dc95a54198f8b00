"""Who looks while a run is at work is told so, and not that a run was cut off, or that the host has drifted."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsm_enrol.cli.plan import show_plan
from hsm_enrol.host import state, undo
from hsm_enrol.host.folders import below
from hsm_enrol.host.lock import Lock, is_held
from hsm_enrol.host.site import Site
from hsm_enrol.status import Status, read_status
from lab.luna.estate import Estate
from tests.played_host import PlayedHost

NOW = dt.datetime.now(dt.UTC)
CHANGING = "another run is changing this host right now; look again when it has ended"
CUT_OFF = "a run was cut off; `hsm-enrol enrol` finishes or undoes it"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[PlayedHost]:
    with Estate() as estate:
        made = PlayedHost(tmp_path / "host", estate, "7.3", join="config")
        made.take()
        yield made


def status(host: PlayedHost) -> Status:
    return read_status(Site.of(host.settings), ask_tools=False)


def test_in_the_middle_of_a_run(host: PlayedHost, capsys: pytest.CaptureFixture[str]) -> None:
    conf = host.conf
    with host.at_work(), undo.begin(state.STATE, watch=("/etc/Chrystoki.conf",), root=str(host.root)) as journal:
        host.client.conf.write_text(conf.replace("HAOnly = 1", "HAOnly = 0"))
        found = status(host)
        assert (found.problems(NOW), found.warnings(NOW)) == ((), (CHANGING,))
        assert not found.cut_off
        show_plan(host.run, as_json=True)
        assert "another run is changing this host right now" in host.said.getvalue()
        assert "cut off" not in host.said.getvalue()
        record = host.record
        assert record is not None
        host.client.conf.write_text(conf)
        journal.commit(record.to_bytes())
    found = status(host)
    assert (found.problems(NOW), found.warnings(NOW)) == ((), ())
    assert capsys.readouterr().out


def test_after_it_was_killed(host: PlayedHost) -> None:
    host.path("/var/lib/hsm-enrol/undo").mkdir()
    found = status(host)
    assert (found.problems(NOW), found.warnings(NOW)) == ((CUT_OFF,), ())


def test_a_run_that_has_not_begun_to_change_anything_hides_no_drift(host: PlayedHost) -> None:
    with host.at_work():
        host.client.conf.write_text(host.conf.replace("HAOnly = 1", "HAOnly = 0"))
        (problem,) = status(host).problems(NOW)
        assert "HAOnly" in problem


def test_looking_at_the_lock_takes_it_from_nobody(tmp_path: Path) -> None:
    path = below(str(tmp_path), "/lock")
    assert not is_held(path)
    with Lock(path):
        assert is_held(path)
        Path(f"{path}2").touch()
        assert not is_held(f"{path}2")
    assert not is_held(path)
    with Lock(path):
        pass
