"""Stop before each system call that changes anything, for real and as an error: old or new, byte for byte, no litter.

The driver forks in a process of its own. With HSM_ENROL_EVERY_POINT=1 every point is tried; else the slow
combinations (a second kill during recovery) take every eighth point.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).parent / "crash" / "driver.py"
SAMPLE = 1 if os.environ.get("HSM_ENROL_EVERY_POINT") else 8


def drive(story: str, fault: str, step: int, scratch: Path) -> dict[str, int]:
    run = subprocess.run(
        [sys.executable, str(DRIVER), story, fault, str(step), str(scratch)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    counts: dict[str, int] = found["counts"]
    print(f"{story}, {fault}: {counts}")
    assert found["faults"] == [], run.stderr
    return counts


@pytest.mark.parametrize("fault", ["kill", "ENOSPC", "EIO", "full"])
def test_a_transaction_stopped_anywhere_is_old_or_new(tmp_path: Path, fault: str) -> None:
    counts = drive("journal", fault, 1, tmp_path)
    assert counts["points"] == counts["old"] + counts["new"]
    assert counts["points"] > 50
    assert counts["old"] > 40


def test_a_recovery_that_is_killed_too_is_finished_by_the_next(tmp_path: Path) -> None:
    counts = drive("journal", "kill twice", SAMPLE, tmp_path)
    assert counts["points"] == counts["old"] + counts["new"]
    assert min(counts["old"], counts["new"]) > 0
