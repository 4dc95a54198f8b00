"""Knows an instance that boots for the first time again and again, near its services or far from them."""

from __future__ import annotations

import contextlib
import json
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from lab.bench.distance import Distance
from lab.bench.process import Failed
from lab.world import World

ROOT = Path(__file__).parents[2]
FAR, FAR_IMDS = 0.02, 0.002  # seconds of round trip
LAUNCHER = """#!{python} -IBS
import sys

sys.path += [{agent!r}, {site!r}]

from hsm_enrol.__main__ import main  # noqa: E402

sys.exit(main())
"""


class Place:
    """An instance that can be put back to its first boot, again and again."""

    def __init__(self, world: World, folder: Path) -> None:
        """Remember how the instance is before anything ran."""
        self.world = world
        self._pristine = folder / "pristine"
        shutil.copytree(world.root, self._pristine, symlinks=True)
        self.agent = folder / "hsm-enrol"
        self.agent.write_text(launcher_text(LAUNCHER))
        self.agent.chmod(0o755)
        for source in (ROOT / "agent/hsm_enrol").rglob("*.py"):  # as the package ships it
            py_compile.compile(str(source), doraise=True)

    def first_boot(self) -> None:
        """Put every file back; AWS starts another instance here, which the verifier has never seen."""
        shutil.rmtree(self.world.root)
        shutil.copytree(self._pristine, self.world.root, symlinks=True)
        self.world.machine = self.world.imds.machine = self.world.aws.launch()

    def enrol(self) -> list[str]:
        """Give the agent's command."""
        return [str(self.agent), "--config", str(self.world.config), "--root", str(self.world.root), "enrol"]

    def check_joined(self) -> None:
        """See that the agent joined, and that the verifier knows."""
        record = json.loads((self.world.root / "var/lib/hsm-enrol/record.json").read_text())
        if record.get("instance_id") != self.world.machine.instance_id:
            raise Failed("the record is of another instance")
        if record.get("receipt_due"):
            raise Failed("the verifier has not been told")

    def check_shell_joined(self) -> None:
        """See that the script joined."""
        record = json.loads((self.world.root / "var/lib/join/record.json").read_text())
        conf = (self.world.root / "etc/Chrystoki.conf").read_text()
        if record["id"] != self.world.machine.instance_id or self.world.estate.label not in conf:
            raise Failed("the script did not join")


def launcher_text(template: str, **more: object) -> str:
    """Fill in interpreter, the agent's folder and that of its libraries, as the package's launcher has them."""
    python, site = os.path.realpath(sys.executable), sysconfig.get_path("purelib")
    return template.format(python=python, agent=str(ROOT / "agent"), site=site, **more)


def make_tools_instant(world: World) -> None:
    """Replace vtl by a script that says at once what the stand-in says of a joined client. Leaves the client joined."""
    joined = world.agent("enrol")
    if joined.returncode:
        raise Failed(joined.stderr)
    tool = Path(world.client.tool("vtl"))
    cases = ""
    for words in ("verify", "haAdmin show"):
        said = subprocess.run([str(tool), *words.split()], capture_output=True, text=True, check=True, timeout=60)
        cases += f"'{words}') cat <<'END'\n{said.stdout.rstrip()}\nEND\n;;\n"
    tool.write_text(f'#!/bin/sh\ncase "$*" in\n{cases}*) exit 1 ;;\nesac\n')


@contextlib.contextmanager
def place(folder: Path, *, instant: bool = True, far: bool = False) -> Iterator[Place]:
    """Run a world with one instance; `instant` tools, or the stand-ins; `far`: 2 ms to IMDS, 20 ms to the verifier."""
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        world = stack.enter_context(World(folder / "world", luna='join = "config"' if instant else ""))
        if instant:
            before = folder / "before"
            shutil.copytree(world.root, before, symlinks=True)
            make_tools_instant(world)
            tool = Path(world.client.tool("vtl"))
            shutil.copy(tool, before / tool.relative_to(world.root))
            shutil.rmtree(world.root)
            before.rename(world.root)
        if far:
            imds = stack.enter_context(Distance(address_of(world.imds.endpoint), FAR_IMDS))
            verifier = stack.enter_context(Distance(address_of(world.party.url), FAR))
            world.write_settings(urls=(f"https://127.0.0.1:{verifier.port}",))
            text = world.config.read_text().replace(world.imds.endpoint, f"http://127.0.0.1:{imds.port}")
            world.config.write_text(text)
        yield Place(world, folder)


def address_of(url: str) -> tuple[str, int]:
    """Give host and port."""
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 443)
