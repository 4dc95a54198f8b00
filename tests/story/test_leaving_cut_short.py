"""A departure that is cut off after its commit, or may not begin: the host is gone, or as it was."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hsm_enrol.host.last_run import PATH as LAST_RUN
from hsm_enrol.host.last_run import note_success
from hsm_enrol.host.lock import Lock
from hsm_enrol.host.state import LOCK, OWNER_KEY
from lab.luna.estate import Estate
from tests.played_host import PlayedHost
from tests.story.killed import killed


@pytest.fixture
def host(tmp_path: Path) -> Iterator[PlayedHost]:
    with Estate() as estate:
        yield PlayedHost(tmp_path / "host", estate, "7.3")


@pytest.mark.parametrize("place", ["Journal.commit", "_close"])
def test_a_departure_that_died_after_its_commit_keeps_no_owner_key(host: PlayedHost, place: str) -> None:
    host.take()
    assert killed(host, "after", f"hsm_enrol.host.undo:{place}", act="leave")
    host.at_rest()  # as the next boot does first: it would ask with that key, and be served
    assert host.record is None
    assert not host.path(OWNER_KEY).exists()


def test_who_may_not_leave_now_forgets_nothing(host: PlayedHost) -> None:
    host.take()
    note_success(host.instance, "joined", 1, {}, str(host.root))
    with Lock(str(host.path(LOCK))):
        assert host.fails(host.leave).status == 75
    assert host.path(LAST_RUN).exists()
    host.leave()
    assert not host.path(LAST_RUN).exists()
