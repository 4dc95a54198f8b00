"""What a run says of itself when whoever started it closed its streams, or when a full disk takes nothing of them."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from lab.party import environment
from lab.world import World

CLOSED = ["2>&-", ">&-", "<&- >&- 2>&-"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A host that joined."""
    with World(tmp_path_factory.mktemp("streams")) as made:
        ran = made.agent("enrol")
        assert ran.returncode == 0, ran.stderr
        yield made


def run(world: World, streams: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the agent with its streams as a shell makes them, buffered as they are outside of the laboratory."""
    script = ["sh", "-c", f'exec "$@" {streams}', "sh", *world.argv(*words)]
    return subprocess.run(
        script,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(PYTHONUNBUFFERED=""),
    )


@pytest.mark.parametrize("streams", [*CLOSED, "2>/dev/full"])
@pytest.mark.parametrize("words", ["enrol", "-v enrol", "status", "refresh"])
def test_it_ends_as_it_would_when_nobody_can_hear_it(world: World, words: str, streams: str) -> None:
    assert run(world, streams, *words.split()).returncode == 0
    assert not list(world.root.rglob(".hsm-enrol.*"))


def test_a_fault_has_its_status_all_the_same(world: World) -> None:
    for streams in (*CLOSED, "2>/dev/full", ">/dev/full", ">/dev/full 2>/dev/full"):
        assert run(world, streams, "--config", "/nowhere.toml", "--json", "enrol").returncode == 78, streams


@pytest.mark.parametrize("words", ["status", "status --json", "explain 77", "enrol --plan", "assertion"])
def test_what_a_full_disk_cut_off_is_not_taken_for_the_whole(world: World, words: str) -> None:
    ran = run(world, ">/dev/full", *words.split())
    assert ran.returncode == 73
    assert "cannot write /dev/stdout: ENOSPC" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "a bug" not in ran.stderr


def test_a_closed_stderr_costs_no_result(world: World) -> None:
    told = json.loads(run(world, "2>&-", "status", "--json").stdout)
    assert told["ok"] is True


def test_a_terminal_of_an_older_locale_is_shown_what_it_cannot_write_as_escapes(world: World) -> None:
    """A comment of the site's in Chrystoki.conf, and our own text: neither is a reason to call it a bug."""
    conf, record = world.client.conf, world.root / "var/lib/hsm-enrol/record.json"
    joined, known = conf.read_bytes(), record.read_bytes()
    try:
        conf.write_bytes(joined.replace(b"HAOnly = 1;", "# \N{RIGHTWARDS ARROW}\n   HAOnly = 0;".encode()))
        drifted = world.agent("enrol", "--plan", PYTHONIOENCODING="iso8859-1")
        assert (drifted.returncode, drifted.stderr) == (0, "")
        assert "\\u2192" in drifted.stdout
        record.unlink()
        first = world.agent("enrol", "--plan", PYTHONIOENCODING="iso8859-1")
        assert (first.returncode, first.stderr) == (0, "")
        assert "Key.pem" in first.stdout
    finally:
        conf.write_bytes(joined)
        record.write_bytes(known)
