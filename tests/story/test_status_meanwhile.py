"""Who looks while a run is at work is told so, and not that a run was cut off, or that the host has drifted."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsm_enrol.cli.plan import show_plan
from hsm_enrol.cli.status import show_status
from hsm_enrol.host import last_run, state, undo
from hsm_enrol.host.folders import below
from hsm_enrol.host.lock import Lock, is_held
from hsm_enrol.host.site import Site
from hsm_enrol.record import PATH as RECORD
from hsm_enrol.status import Status, read_status
from lab.luna.estate import Estate
from tests.played_host import PlayedHost

NOW = dt.datetime.now(dt.UTC)
CHANGING = "another run is changing this host right now; look again when it has ended"
ASKING = "another run is asking a verifier right now; look again when it has ended"
UNANSWERED = "a run was cut off while it asked a verifier; `hsm-enrol refresh` asks again"
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


def note(host: PlayedHost) -> None:
    state.note_pending(str(host.root), instance_id=host.instance, jti="j", nonce="n", owner="o")


def test_while_a_run_asks_and_after_it_was_killed_at_that(host: PlayedHost) -> None:
    with host.at_work():
        note(host)
        assert status(host).warnings(NOW) == (ASKING,)
    assert status(host).warnings(NOW) == (UNANSWERED,)
    host.path(RECORD).unlink()
    assert status(host).warnings(NOW) == (UNANSWERED.replace("refresh", "enrol"),)
    state.drop_pending(str(host.root))
    assert status(host).warnings(NOW) == ()


def test_a_run_that_ends_while_status_looks_was_not_cut_off(host: PlayedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    read, run = state.read_pending, host.at_work()
    run.__enter__()
    note(host)

    def read_and_end(root: str) -> dict[str, str] | None:
        found = read(root)
        state.drop_pending(root)
        run.__exit__(None, None, None)
        return found

    monkeypatch.setattr(state, "read_pending", read_and_end)
    assert status(host).warnings(NOW) == (ASKING,)


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


def test_figures_for_a_graph_that_cannot_be_read_are_no_reason_to_show_nothing(
    host: PlayedHost, capsys: pytest.CaptureFixture[str]
) -> None:
    host.path(last_run.PATH).write_bytes(bytes(9000))
    assert show_status(lambda: host.settings, as_json=True, ask_tools=False) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []
