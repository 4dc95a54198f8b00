import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hsm_enrol.words import DEFAULT_CONFIG
from hsm_verifier.__main__ import make_parser
from tests.shown import blocks

ROOT = Path(__file__).parent.parent
SYSTEMD = ROOT / "systemd"
SERVICES = sorted(path.name for path in SYSTEMD.glob("*.service"))
UNITS = sorted(path.name for path in SYSTEMD.iterdir() if path.suffix in {".service", ".socket", ".target", ".timer"})
PROGRAMS = ("usr/bin/hsm-enrol", "usr/bin/hsm-verifier", "usr/bin/systemd-creds", "bin/systemctl")
HOST_UNITS = Path("/usr/lib/systemd/system")
NEEDS = ("systemd-analyze=systemd", f"{HOST_UNITS}/sysinit.target=systemd", "nft=nftables", "unshare=util-linux")


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    subprocess.run([ROOT / "packaging/dev/needs.sh", *NEEDS], check=True, timeout=110)


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A root as after installation: systemd's own units, ours, and a program for each ExecStart."""
    units = tmp_path / "usr/lib/systemd/system"
    shutil.copytree(HOST_UNITS, units, symlinks=True)
    for name in UNITS:
        shutil.copy(SYSTEMD / name, units)
    for name in PROGRAMS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", tmp_path / name)
    return tmp_path


def verify(root: Path, *units: str) -> str:
    done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={root}", *units)
    return done.stdout + done.stderr + (f"exit {done.returncode}" if done.returncode else "")


def lines(unit: str) -> list[str]:
    return (SYSTEMD / unit).read_text().splitlines()


def test_systemd_finds_nothing_to_say_about_our_units(installed: Path) -> None:
    assert verify(installed, *UNITS) == ""


def test_a_misspelt_directive_would_be_found(installed: Path) -> None:
    unit = installed / "usr/lib/systemd/system/hsm-enrol.service"
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHoem="))
    assert "Unknown key 'ProtectHoem'" in verify(installed, "hsm-enrol.service")


@pytest.mark.parametrize("drop_in", sorted(path.name for path in (SYSTEMD / "examples").glob("*.conf")))
def test_each_example_is_a_drop_in_that_systemd_takes(installed: Path, drop_in: str) -> None:
    text = (SYSTEMD / "examples" / drop_in).read_text()
    place = re.search(r"/etc/systemd/system/((\S+\.service)\.d/\S+\.conf)", text)
    assert place is not None
    there = installed / "etc/systemd/system" / place[1]
    there.parent.mkdir(parents=True)
    there.write_text(text)
    assert there.name == drop_in
    assert verify(installed, place[2]) == ""


SHOWN = [one for one in blocks() if one.language == "ini"]


@pytest.mark.parametrize("number", range(len(SHOWN)))
def test_each_unit_that_the_documents_show_is_one_that_systemd_takes(installed: Path, number: int) -> None:
    block = SHOWN[number]
    units = installed / "etc/systemd/system"
    units.mkdir(parents=True, exist_ok=True)
    text = block.text.replace("[Service]", "[Service]\nExecStart=/usr/bin/hsm-enrol")  # what is the application's own
    (units / "tomcat.service").write_text(text + "\n")
    assert verify(installed, "tomcat.service") == ""


@pytest.mark.parametrize("service", SERVICES)
def test_exposure_is_at_most_two(service: str) -> None:
    done = run("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", SYSTEMD / service)
    print(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_each_exposure_that_is_left_is_explained_in_the_unit(service: str) -> None:
    done = run("systemd-analyze", "security", "--offline=true", "--json=short", SYSTEMD / service)
    left = {row["name"] for row in json.loads(done.stdout) if float(row["exposure"] or 0) > 0}
    found = (re.match(r"#   (\S.*?) {2,}\S", line) for line in lines(service))
    explained = {match[1] for match in found if match}
    # systemd does not count this row for a service without default dependencies.
    assert left | {"RootDirectory=/RootImage="} == explained


def sandbox(service: str) -> list[str]:
    text = lines(service)
    return text[text.index("StateDirectory=hsm-enrol") : text.index("SystemCallErrorNumber=EPERM") + 1]


def test_refresh_runs_in_the_same_sandbox_as_enrol() -> None:
    assert sandbox("hsm-enrol-refresh.service") == sandbox("hsm-enrol.service")


def test_a_further_process_of_the_verifier_is_run_as_the_first() -> None:
    first, further = lines("hsm-verifier.service"), lines("hsm-verifier@.service")
    service = slice_of(further)
    (start,) = [line for line in service if line.startswith("ExecStart=")]
    assert start.endswith(" --admin unix:/var/lib/hsm-verifier/admin-%i.sock")
    service.remove("Sockets=hsm-verifier.socket")
    service[service.index(start)] = start.rpartition(" --admin ")[0]
    assert service == slice_of(first)


def slice_of(unit: list[str]) -> list[str]:
    return unit[unit.index("[Service]") : unit.index("[Install]")]


def test_the_hourly_check_may_do_less_than_enrol() -> None:
    def directives(service: str) -> list[str]:
        return [line for line in sandbox(service) if not line.startswith("#")]

    here, there = directives("hsm-enrol-check.service"), directives("hsm-enrol.service")
    assert [line for line in here if line not in there] == ["CapabilityBoundingSet="]
    missing = {line.partition("=")[0] for line in there if line not in here}
    assert missing == {"CapabilityBoundingSet", "ReadWritePaths", "ReadOnlyPaths", "SystemCallFilter"}


def test_what_is_final_is_not_tried_again_by_restart() -> None:
    from hsm_enrol.errors import catalogue

    statuses = {kind.status for kind in catalogue()}
    setting = next(line for line in lines("hsm-enrol.service") if line.startswith("RestartPreventExitStatus="))
    final = {int(word) for word in setting.partition("=")[2].split()}
    assert final == {64, 65, 76, 77, 78}
    assert statuses - final == {69, 70, 73, 75}


def test_systemd_waits_longer_than_the_agent_does() -> None:
    from hsm_enrol.setting_values import as_span
    from hsm_enrol.settings import ImdsSettings

    setting = next(line for line in lines("hsm-enrol.service") if line.startswith("TimeoutStartSec="))
    deadlines = ImdsSettings().deadline + 600  # VerifierSettings.deadline, which has required neighbours
    assert as_span(setting.partition("=")[2]) > deadlines


@pytest.mark.parametrize("service", [name for name in SERVICES if name.startswith("hsm-enrol")])
def test_systemd_listens_when_the_agent_asks_for_more_time(service: str) -> None:
    assert "NotifyAccess=main" in lines(service)
    assert any(line.startswith("TimeoutStartSec=") for line in lines(service))


def test_the_example_firewall_is_one_that_nft_takes() -> None:
    done = run("unshare", "--net", "nft", "--check", "--file", SYSTEMD / "examples/imds-root-only.nft")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_command_without_config_reads_the_settings_of_the_packaged_unit() -> None:
    args = make_parser().parse_args(["ledger", "list"])
    for unit in ("hsm-verifier.service", "hsm-verifier@.service"):
        (start,) = [line for line in lines(unit) if line.startswith("ExecStart=")]
        assert f"--config {args.config}" in start
        assert f"ConditionPathExists={args.config}" in lines(unit)
    assert f"ConditionPathExists={DEFAULT_CONFIG}" in lines("hsm-enrol.service")


def test_the_verifiers_socket_is_skipped_when_its_service_is() -> None:
    def conditions(unit: str) -> list[str]:
        return [line for line in lines(unit) if line.startswith("Condition")]

    assert conditions("hsm-verifier.socket") == conditions("hsm-verifier.service") != []


@pytest.mark.parametrize("party", ["hsm-enrol", "hsm-verifier"])
def test_users_and_groups_are_made_once(tmp_path: Path, party: str) -> None:
    (tmp_path / "etc").mkdir()
    for _ in range(2):
        done = run("systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "sysusers.d" / f"{party}.conf")
        assert done.returncode == 0, done.stderr
    name = {"hsm-enrol": "hsmusers", "hsm-verifier": "hsm-verifier"}[party]
    assert (tmp_path / "etc/group").read_text().count(f"{name}:") == 1


def test_folders_are_made_with_the_units_modes(tmp_path: Path) -> None:
    done = run("systemd-tmpfiles", f"--root={tmp_path}", "--create", SYSTEMD / "tmpfiles.d/hsm-enrol.conf")
    assert done.returncode == 0, done.stderr
    modes = {name: oct((tmp_path / name).stat().st_mode & 0o777) for name in ("run/hsm-enrol", "var/lib/hsm-enrol")}
    text = lines("hsm-enrol.service")
    assert f"RuntimeDirectoryMode={modes['run/hsm-enrol'].replace('o', '')}" in text
    assert f"StateDirectoryMode={modes['var/lib/hsm-enrol'].replace('0o', '0')}" in text
