"""Stop before each system call that changes anything, for real and as an error: old or new, byte for byte, no litter.

The driver forks in a process of its own. With HSM_ENROL_EVERY_POINT=1 (`make crash`) every point is tried; else a
transaction takes every third, whole installations and a second kill during recovery every twentieth.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).parent / "crash" / "driver.py"
EVERY_POINT = bool(os.environ.get("HSM_ENROL_EVERY_POINT"))
FAULTS = ("kill", "ENOSPC", "EIO", "full")
LIMIT = 3000 if EVERY_POINT else 110  # seconds


def drive(story: str, faults: tuple[str, ...], step: int, scratch: Path) -> dict[str, dict[str, int]]:
    """Run the driver; give the counts by fault."""
    run = subprocess.run(
        [sys.executable, str(DRIVER), story, ",".join(faults), str(step), str(scratch)],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, dict[str, int]] = {}
    for line in run.stdout.splitlines():
        said = json.loads(line)
        print(f"{story}, {said['fault']}: {said['counts']}")
        assert said["wrong"] == [], run.stderr
        found[said["fault"]] = said["counts"]
    assert tuple(found) == faults
    for counts in found.values():
        assert counts["points"] == counts.get("old", 0) + counts.get("new", 0)
    return found


@pytest.mark.timeout(LIMIT + 5)
def test_a_transaction_stopped_anywhere_is_old_or_new(tmp_path: Path) -> None:
    for counts in drive("journal", FAULTS, 1 if EVERY_POINT else 3, tmp_path).values():
        assert counts["points"] > (50 if EVERY_POINT else 16)
        assert counts["old"] > (40 if EVERY_POINT else 12)


@pytest.mark.timeout(LIMIT + 5)
@pytest.mark.parametrize("story", ["fresh", "rotation", "mend", "leave"])
def test_an_installation_stopped_anywhere_is_old_or_new(tmp_path: Path, story: str) -> None:
    for counts in drive(story, FAULTS, 1 if EVERY_POINT else 20, tmp_path).values():
        assert counts["points"] > (80 if EVERY_POINT else 4)
        assert counts["old"] > 0


@pytest.mark.timeout(LIMIT + 5)
def test_a_recovery_that_is_killed_too_is_finished_by_the_next(tmp_path: Path) -> None:
    counts = drive("journal", ("kill twice",), 1 if EVERY_POINT else 20, tmp_path)["kill twice"]
    assert min(counts["old"], counts["new"]) > 0
