"""What docs/operating.md has an operator type after a restore does what it says, on the audits of two verifiers."""

import re
import subprocess
from pathlib import Path

import pytest

from hsm_verifier.audit import Audit, Fact
from tests.documents import ROOT

BEFORE, SINCE = 1_799_000_000.0, 1_800_100_000.0  # 2027-01-03 and 2027-01-16; the backup is of the 15th
A_KEY, B_KEY, C_KEY = "A" * 43, "B" * 43, "C" * 43
STARTED, TAKEN_BACK, ENDED, OLD = "i-0000000a", "i-0000000b", "i-0000000c", "i-0000000d"


def scripts() -> list[str]:
    """The loops of the section, in their order."""
    section = (ROOT / "docs" / "operating.md").read_text("utf-8").partition("\n## After a restore\n")[2]
    return re.findall(r"(?m)(?:^ {7}.*\n)+", section.partition("\n## ")[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    def note(file: str, event: str, when: float, **facts: Fact) -> None:
        Audit(tmp_path / file).write(event, when, **facts)

    note("audit.jsonl", "enrolment", BEFORE, instance=OLD, owner=A_KEY, how="new")
    note("audit.jsonl", "enrolment", SINCE, instance=STARTED, owner=A_KEY, how="new")
    note("audit.jsonl", "enrolment", SINCE + 1, instance=STARTED, owner=A_KEY, how="again")
    note("audit.jsonl", "enrolment", SINCE + 2, instance=TAKEN_BACK, owner=C_KEY, how="granted")
    note("audit-2.jsonl", "enrolment", SINCE + 1, instance=TAKEN_BACK, owner=B_KEY, how="new")  # who was not meant
    note("audit-2.jsonl", "enrolment", SINCE + 3, instance=ENDED, owner=B_KEY, how="new")
    note("audit-2.jsonl", "revoke", SINCE + 4, instance=ENDED, why="stolen")
    note("audit-2.jsonl", "revoke", SINCE + 5, instance=OLD, why="stolen")
    note("audit-2.jsonl", "start", SINCE + 6)
    return tmp_path


def typed(script: str, folder: Path) -> list[str]:
    """The commands of the verifier that a loop comes to."""
    told = 'hsm-verifier() { echo "$@"; }\n'
    done = subprocess.run(
        ["bash", "-c", told + script], cwd=folder, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_lg5_revocations_that_the_backup_lacks_are_said_again_before_anybody_is_served(folder: Path) -> None:
    revoking, _ = scripts()
    assert typed(revoking, folder) == [f"ledger revoke {one} --reason restore" for one in (ENDED, OLD)]


def test_lg5_only_the_key_that_had_the_bundle_last_is_granted_and_nobody_who_was_revoked(folder: Path) -> None:
    _, granting = scripts()
    assert typed(granting, folder) == [
        f"grant {STARTED} --owner {A_KEY} --until 24h --reason restore",
        f"grant {TAKEN_BACK} --owner {C_KEY} --until 24h --reason restore",
    ]
