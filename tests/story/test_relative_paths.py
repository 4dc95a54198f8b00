"""Paths on the command line are meant where one stands: a root that is not absolute, a file of metrics."""

import subprocess
from pathlib import Path

from lab.party import environment
from lab.world import World


def run(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the agent in the folder above the instance's root."""
    return subprocess.run(
        world.argv(*words),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment(),
        cwd=world.folder,
    )


def test_a_root_beside_us_is_joined_and_left_as_any_other(world: World) -> None:
    here = world.root.name
    joined = run(world, "enrol", "--root", here)
    assert joined.returncode == 0, joined.stderr
    again = run(world, "enrol", f"--root=./{here}/")
    assert (again.returncode, again.stderr.count("nothing to do")) == (0, 1)
    assert world.agent("status").returncode == 0
    assert run(world, "leave", "--root", here).returncode == 0
    assert not list(world.root.rglob(".hsm-enrol.*"))


def test_metrics_are_written_where_they_are_asked_for(world: World) -> None:
    name = "of-a-test.prom"
    assert run(world, "status", "--metrics", name).returncode == 1
    assert (world.folder / name).read_text().startswith("# HELP")
    assert not Path("/", name).exists()
