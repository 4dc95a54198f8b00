"""SIGKILL, with the real tools as processes, at every boundary of a step: as before or joined, and the next run joins.

Every boundary with HSM_ENROL_EVERY_POINT=1, else some of each kind.
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.luna.estate import Estate
from tests.played_host import PlayedHost
from tests.story.killed import killed

EVERY_POINT = bool(os.environ.get("HSM_ENROL_EVERY_POINT"))
STEP, TOOL, TYPED = "host.act:Hand.carry_out", "host.act:Hand.tool", "host.tools:_Talk._type"
BOUNDARIES = [
    ("before", "host.undo:_save", 1),
    ("after", "host.undo:_save", 1),
    *[(when, STEP, nth) for when, nth in itertools.product(("before", "after"), range(1, 9))],
    *[("after", TOOL, nth) for nth in range(1, 10)],
    *[("after", TYPED, nth) for nth in range(1, 5)],
    ("before", "host.undo:Journal.commit", 1),
    ("after", "host.undo:Journal.commit", 1),
    ("before", "host.undo:_close", 1),
    ("after", "host.undo:_close", 1),
]
SOME = [
    ("after", "host.undo:_save", 1),
    ("after", STEP, 3),
    ("after", TOOL, 2),
    ("after", TOOL, 6),
    ("after", TYPED, 1),
    ("after", "host.undo:Journal.commit", 1),
]
POINTS = BOUNDARIES if EVERY_POINT else SOME


@pytest.fixture
def estate() -> Iterator[Estate]:
    with Estate() as running:
        yield running


def outside(host: PlayedHost) -> dict[str, tuple[int, bytes | str]]:
    return {name: found for name, found in host.files().items() if "hsm-enrol" not in name}


@pytest.mark.parametrize(("when", "place", "nth"), POINTS, ids=lambda one: str(one).rpartition(":")[2])
def test_killed_while_joining_by_the_tools(when: str, place: str, nth: int, estate: Estate, tmp_path: Path) -> None:
    host = PlayedHost(tmp_path / "host", estate, "6.2")
    old = outside(host)
    died = killed(host, when, f"hsm_enrol.{place}", nth=nth)
    host.at_rest()
    host.assert_no_litter()
    memory, record = host.pin_state, host.record
    committed = record is not None and record.installed is not None
    assert died or committed
    if not committed:
        assert outside(host) == old
        host.take()
    assert host.mend() is False
    host.assert_no_litter()
    # One that was accepted may be typed again; of one with an unknown end nobody knows whom it would lock out.
    assert all(one.tries <= 1 + (memory == "accepted") for one in estate.partitions)
    assert {path.stat().st_mode & 0o777 for path in host.client.below("cert/server").iterdir()} == {0o644}
    assert [path.stat().st_mode & 0o777 for path in host.client.below("cert/client").glob("*Key.pem")] == [0o640]


@pytest.mark.parametrize("act", ["mend", "leave"])
def test_killed_right_before_the_commit_of_a_mend_or_a_departure(act: str, estate: Estate, tmp_path: Path) -> None:
    host = PlayedHost(tmp_path / "host", estate, "7.3", join="config")
    host.take()
    (host.client.below("cert/server") / "CAFile.pem").write_bytes(b"")
    harmed = outside(host)
    assert killed(host, "before", "hsm_enrol.host.undo:Journal.commit", act=act)
    host.at_rest()
    assert outside(host) == harmed
    assert host.mend() if act == "mend" else host.leave()
    host.assert_no_litter()
