"""What a person at a terminal of 80 columns sees of real runs, and what a script reads."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hsm_enrol.host.state import METRICS
from lab.party import environment
from lab.world import World
from tests.documents import ROOT, bare, table
from tests.screen import run_on_a_terminal, screen


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A host that joined and asked once more; each test leaves it so."""
    with World(tmp_path_factory.mktemp("terminal")) as made:
        for words in ("enrol", "refresh"):
            ran = made.agent(words)
            assert ran.returncode == 0, ran.stderr
        yield made


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as made:
        yield made


def at_a_terminal(world: World, *words: str, **more: str) -> tuple[int, str]:
    return run_on_a_terminal(world.argv(*words), environment(TERM="xterm", **more))


def test_a_first_boot_watched_by_a_person(fresh: World) -> None:
    status, written = at_a_terminal(fresh, "enrol")
    assert status == 0
    shown = screen(written)
    steps = [re.fullmatch(r"hsm-enrol: ([a-z]*) +(.*?) +(\d+\.\d) s", line) for line in shown[:-1]]
    names = [step[1] for step in steps if step and step[1]]
    assert names == [
        "identify", "ask", "install", "register", "register", "verify", "group", "trial", "group", "prove", "tell",
    ]  # fmt: skip
    assert shown[-1].startswith("hsm-enrol: joined: serial ")
    assert "\x1b[32mhsm-enrol: joined" in written
    print("\n".join(shown))


def test_every_request_is_shown_to_the_curious_without_a_secret_and_without_colours(world: World) -> None:
    status, written = at_a_terminal(world, "-v", "refresh", NO_COLOR="1")
    assert status == 0
    shown = screen(written)
    assert not re.search(r"\x1b\[[0-9;]*m", written)
    joined = " ".join(line.removeprefix("hsm-enrol:").strip() for line in shown)
    for request in ("PUT .*/latest/api/token", "GET .*/security-credentials/ec2-instance", "GET .*/v1/challenge"):
        assert re.search(rf"{request}: 200, \d+ bytes", joined), request
    assert re.search(r"POST .*/v1/enrolments: 200, \d+ bytes", joined)
    credentials = world.machine.credentials
    for secret in (credentials.secret_access_key, credentials.session_token, world.estate.pin):
        assert secret not in written.replace("\n           ", "")
    assert shown[-1].startswith("hsm-enrol: current: serial ")


def test_a_plan_of_80_columns_in_colours_that_shows_no_secret(world: World) -> None:
    conf = world.root / "etc/Chrystoki.conf"
    before = conf.read_text()
    secrets = "   ServerPassword = CANARY-one;\n   PartitionToken = CANARY-two;\n   Evil = \x1b[2J;\n   HAOnly = 0;\n"
    conf.write_text(before.replace("   HAOnly = 1;\n", secrets))
    authorities = next(world.root.rglob("CAFile.pem"))
    whole = authorities.read_bytes()
    authorities.unlink()
    status, written = at_a_terminal(world, "enrol", "--plan")
    assert status == 0
    assert "CANARY" not in written
    shown = screen(written)
    assert "    PartitionToken = (masked);" in shown
    assert "    Evil = \\x1b[2J;" in shown
    assert "\x1b[31m-   HAOnly = 0;\x1b[0m" in written
    assert "\x1b[32m+   HAOnly = 1;\x1b[0m" in written
    assert any(line.startswith("write ") for line in shown)
    assert "\x1b" not in world.agent("enrol", "--plan").stdout  # no terminal, no colours
    assert not re.search(r"\x1b\[", at_a_terminal(world, "enrol", "--plan", NO_COLOR="1")[1])
    conf.write_text(before)
    authorities.write_bytes(whole)
    authorities.chmod(0o644)


def test_metrics_for_node_exporter(world: World) -> None:
    path = world.folder / "hsm-enrol.prom"
    path.touch(0o600)
    ran = world.agent("status", "--metrics", str(path))
    assert ran.returncode == 0, ran.stderr
    assert path.stat().st_mode & 0o777 == 0o644
    found = {one.name: one for one in text_string_to_metric_families(path.read_text())}
    documented = {bare(row["metric"]): row for row in table("docs/operating.md", "Metrics", "metric")}
    assert {name: one.documentation.replace("`", "") for name, one in found.items()} == {
        name: bare(row["meaning"]) for name, row in documented.items()
    }
    labels = {name: {label for sample in one.samples for label in sample.labels} for name, one in found.items()}
    assert labels == {name: set(row["labels"].split()) for name, row in documented.items()}
    value = {name.removeprefix("hsm_enrol_"): one.samples[0].value for name, one in found.items()}
    members = len(world.bundle()["ha"]["members"])
    assert (value["healthy"], value["members"], value["members_alive"], value["drift"]) == (1, members, members, 0)
    assert value["bundle_serial"] == world.serial
    assert found["hsm_enrol_last_success_timestamp_seconds"].samples[0].labels == {"how": "current"}
    phases = {one.labels["phase"]: one.value for one in found["hsm_enrol_last_installation_seconds"].samples}
    assert list(phases) == ["identify", "ask", "install", "register", "verify", "group", "trial", "prove", "tell"]
    assert all(0 <= seconds < 60 for seconds in phases.values())

    record = world.root / "var/lib/hsm-enrol/record.json"
    whole = record.read_bytes()
    record.write_text("{")
    assert world.agent("status", "--metrics", str(path)).returncode == 70
    assert "hsm_enrol_healthy 0\n" in path.read_text()  # an old file would go on saying 1
    record.write_bytes(whole)


def test_metrics_of_a_host_whose_settings_are_broken_say_so(fresh: World) -> None:
    path = fresh.folder / "hsm-enrol.prom"
    assert fresh.agent("enrol").returncode == 0
    whole = fresh.config.read_text()
    for broken in (lambda: fresh.config.write_text(whole + "nonsense\n"), fresh.config.unlink):
        assert fresh.agent("status", "--metrics", str(path)).returncode == 0
        assert "hsm_enrol_healthy 1\n" in path.read_text()
        broken()
        assert fresh.agent("status", "--metrics", str(path)).returncode == 78
        assert "hsm_enrol_healthy 0\n" in path.read_text()
        fresh.config.write_text(whole)


def test_the_hourly_check_leaves_metrics_until_the_host_leaves(fresh: World, tmp_path: Path) -> None:
    """The unit's own command line; what it writes is what a collector of another user reads through a link."""
    unit = (ROOT / "systemd/hsm-enrol-check.service").read_text().splitlines()
    words = next(line for line in unit if line.startswith("ExecStart=")).split()[1:]
    assert words == ["status", "--metrics", METRICS]
    there = fresh.root / METRICS.lstrip("/")
    assert fresh.agent("enrol").returncode == 0
    assert fresh.agent(*words[:-1], str(there)).returncode == 0
    link = tmp_path / there.name
    link.symlink_to(there)
    assert "hsm_enrol_healthy 1\n" in link.read_text()
    assert there.stat().st_mode & 0o777 == 0o644
    assert there.parent.stat().st_mode & 0o777 == 0o755
    assert fresh.agent("leave").returncode == 0
    assert not there.exists()


def test_waiting_for_a_verifier_that_is_away(fresh: World) -> None:
    fresh.party.stop()
    fresh.write_settings(deadline="2s")
    status, written = at_a_terminal(fresh, "refresh")
    assert status == 75
    shown = screen(written)
    assert any(re.match(r"hsm-enrol: waiting \d+ s, until \d\d:\d\d:\d\d: no verifier", line) for line in shown)
    assert re.match(r"hsm-enrol: ask +failed +\d\.\d s", next(line for line in shown if " failed " in line))
    assert shown[-1] == "hsm-enrol: next: hsm-enrol check"
    assert "\x1b[31mhsm-enrol: no verifier" in written
