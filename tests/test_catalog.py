import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from hsm_enrol import errors
from hsm_enrol.catalog import catalog
from hsm_enrol.errors import catalogue, fact_names
from hsm_enrol.events import EVENTS

ROOT = Path(__file__).parent.parent
FILE = ROOT / "systemd/hsm-enrol.catalog"
IDS = {kind.message_id for kind in catalogue()} | {event.message_id for event in EVENTS}
ENTRY = re.compile(
    r"-- (?P<id>[0-9a-f]{32})\nSubject: (?P<subject>[^\n]+)\nDefined-By: hsm-enrol\n"
    r"Documentation: man:hsm-enrol\(8\)\n\n(?P<text>(?:(?!-- )[^\n]*\n)+)"
)


def test_the_file_that_ships_is_what_the_code_says() -> None:
    made = subprocess.run([sys.executable, "-m", "hsm_enrol.catalog"], capture_output=True, text=True, check=True)
    assert made.stdout == catalog()
    assert FILE.read_text() == catalog(), "write it anew: python -m hsm_enrol.catalog >systemd/hsm-enrol.catalog"


def test_each_error_and_event_has_one_entry_that_names_its_facts() -> None:
    found = {entry["id"]: entry for entry in ENTRY.finditer(FILE.read_text())}
    assert set(found) == IDS
    for kind in catalogue():
        entry = found[kind.message_id]
        named = set(re.findall(r"@HSM_ENROL_([A-Z_]+)@", entry["subject"] + entry["text"]))
        assert {name.upper() for name in fact_names(kind)} | {"STEP", "INSTANCE"} == named
        assert f"Exit status {kind.status} (`{kind.reason}`)" in entry["text"]
        assert "{" not in entry["subject"] + entry["text"].replace("; { }", "")


def test_each_error_is_imported_from_one_place_whatever_it_is_about() -> None:
    kinds = catalogue()
    assert {kind.__module__.rpartition(".")[0] for kind in kinds} == {"hsm_enrol.errors"}
    assert len({kind.__module__ for kind in kinds}) > 1
    for kind in kinds:
        assert getattr(errors, kind.__name__) is kind
        assert kind.__name__ in errors.__all__


def test_an_enrolment_does_not_import_what_only_a_fault_or_a_sealed_pin_needs() -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import hsm_enrol.enrol; "
        "print(*({'shlex', 'subprocess', 'hsm_enrol.errors'} & set(sys.modules)))"
    )
    words = [sys.executable, "-IBS", "-c", code, str(ROOT / "agent"), sysconfig.get_path("purelib")]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "hsm_enrol.errors\n"


@pytest.fixture(scope="module")
def journalctl() -> str:
    subprocess.run([ROOT / "packaging/dev/needs.sh", "journalctl=systemd"], check=True, timeout=110)
    return "journalctl"


def test_journalctl_takes_the_file(journalctl: str, tmp_path: Path) -> None:
    """One malformed file makes `--update-catalog` fail for the whole machine."""
    folder = tmp_path / "usr/lib/systemd/catalog"
    folder.mkdir(parents=True)
    (folder / FILE.name).write_text(FILE.read_text())
    update = [journalctl, "--update-catalog", f"--root={tmp_path}"]
    subprocess.run(update, check=True, capture_output=True, timeout=30)
    listed = subprocess.run(
        [journalctl, f"--root={tmp_path}", "--list-catalog"], check=True, capture_output=True, text=True, timeout=30
    ).stdout
    assert len(listed.splitlines()) == len(catalogue()) + len(EVENTS)
    (folder / FILE.name).write_text(FILE.read_text().replace("-- ", "-- x", 1))
    broken = subprocess.run(update, check=False, capture_output=True, timeout=30)
    assert broken.returncode != 0
