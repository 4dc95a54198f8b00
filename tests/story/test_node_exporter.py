"""Debian's node_exporter, as a user of its own, shows what our hourly check wrote: through a link, or from the folder.

It is started by hand on loopback with the textfile collector alone; `packaging/dev/node_exporter.sh` brings it.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from hsm_enrol.host.state import METRICS
from lab.world import World
from tests.documents import ROOT

PROGRAM = "prometheus-node-exporter"
UNPACKED = ROOT / ".bench/node-exporter/usr/bin" / PROGRAM
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
# The socket is ours and open before the program runs, so nobody has to guess a port or wait for one.
ACTIVATED = 'exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'

Families = dict[str, Metric]


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that every user may look into, as /run is."""
    made = Path(tempfile.mkdtemp(prefix="hsm-enrol-exporter-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def program(open_folder: Path) -> Path:
    found = shutil.which(PROGRAM) or str(UNPACKED)
    assert Path(found).exists(), "run packaging/dev/node_exporter.sh"
    return Path(shutil.copy(found, open_folder / PROGRAM))


@pytest.fixture(scope="module")
def world(open_folder: Path) -> Iterator[World]:
    (open_folder / "world").mkdir()
    with World(open_folder / "world") as made:
        yield made


@contextmanager
def scraped(program: Path, folder: Path) -> Iterator[str]:
    """Run the exporter on a folder; give the address of its metrics."""
    words = [
        str(program), "--web.systemd-socket",
        "--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={folder}",
    ]  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as server:
        argv = ["sh", "-c", ACTIVATED, "sh", *([] if os.getuid() else NOBODY), *words]
        with subprocess.Popen(argv, stdin=server.fileno(), cwd="/", stderr=subprocess.DEVNULL) as process:
            try:
                yield f"http://127.0.0.1:{server.getsockname()[1]}/metrics"
            finally:
                process.kill()


def families(text: str) -> Families:
    return {one.name: one for one in text_string_to_metric_families(text)}


def asked(address: str) -> Families:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return families(answer.read().decode())


def values(found: Families) -> dict[str, object]:
    return {
        name: (one.type, one.documentation, sorted((sorted(s.labels.items()), s.value) for s in one.samples))
        for name, one in found.items()
        if name.startswith("hsm_enrol_")
    }


def test_node_exporter_shows_what_the_hourly_check_wrote(world: World, program: Path, open_folder: Path) -> None:
    written = world.root / METRICS.lstrip("/")
    collected = open_folder / "collected"
    collected.mkdir()
    (collected / written.name).symlink_to(written)
    for words in (("enrol",), ("refresh",), ("status", "--metrics", str(written))):
        ran = world.agent(*words)
        assert ran.returncode == 0, ran.stderr
    ours = families(written.read_text())
    assert len(ours) > 10
    with scraped(program, collected) as through_a_link, scraped(program, written.parent) as from_the_folder:
        for address in (through_a_link, from_the_folder):
            found = asked(address)
            assert values(found) == values(ours)
            assert found["node_textfile_scrape_error"].samples[0].value == 0
            (mtime,) = found["node_textfile_mtime_seconds"].samples
            assert mtime.value == pytest.approx(written.stat().st_mtime, abs=1)
        assert world.agent("leave").returncode == 0
        for address, error in ((through_a_link, 1), (from_the_folder, 0)):  # a link that leads nowhere is told
            found = asked(address)
            assert values(found) == {}
            assert found["node_textfile_scrape_error"].samples[0].value == error
