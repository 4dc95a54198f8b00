"""Knows how to put a whole world on loopback: an instance with its metadata service, AWS, a verifier, appliances.

Every wire is real: HTTP to IMDS, TLS to a verifier that is its own process, processes for the Luna tools, mutual TLS
from them to the appliances. The instance is a folder; --root keeps the agent inside it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from hsm_enrol.luna import program, show
from lab.aws import Aws
from lab.imds import ImdsServer
from lab.luna.estate import Estate
from lab.machine import Machine
from lab.party import Party, environment

AGENT_LIMIT = 120.0  # seconds; the agent's own deadlines end long before
SETTINGS = """[verifier]
urls = [{urls}]
audience = "{audience}"
ca_file = "/etc/hsm-enrol/verifier-ca.pem"
answer_keys = ["/etc/hsm-enrol/answer-key.pem"]
deadline = "{deadline}"

[imds]
endpoint = "{imds}"
deadline = "{deadline}"

[luna]
{luna}

[deliver]
{deliver}
"""


class World:
    """One instance and all that it talks to, below `folder`; see `agent`."""

    def __init__(
        self,
        folder: Path,
        *,
        generation: str = "6.2",
        appliances: int = 2,
        pin: bool = True,
        client: dict[str, Any] | None = None,
        luna: str = "",
        deliver: str = "",
        deadline: str = "20s",
        policy: str = "",
        named: bool = True,
    ) -> None:
        """Make everything but the verifier's process. `luna` and `deliver` are lines of those settings tables.

        `client` are options of lab.luna.client.install_client; `named` as in lab.luna.estate.
        """
        self.folder = folder
        self.root = folder / "instance"
        self.config = self.root / "etc/hsm-enrol/hsm-enrol.toml"
        self._lines = {"luna": luna, "deliver": deliver, "deadline": deadline}
        self.aws = Aws(folder / "aws")
        self.machine: Machine = self.aws.launch()
        self.imds = ImdsServer(self.machine)
        self.party = Party(folder / "verifier", self.aws, policy=policy)
        self.root.mkdir()
        for place in ("etc/hsm-enrol", "var/lib", "run"):
            (self.root / place).mkdir(parents=True, exist_ok=True)
        (self.root / "etc/group").write_text("root:x:0:\nhsmusers:x:990:\n")
        self.estate = Estate(appliances=appliances, named=named)
        self.client = self.estate.install(generation, self.root, notes=folder / "luna", **(client or {}))
        self.pin = pin
        self.serial = 0

    def start(self) -> Self:
        """Bring it up: AWS, IMDS, appliances, a published bundle, the verifier; write the instance's settings."""
        self.aws.start()
        self.imds.start()
        self.estate.start()
        self.serial = self.party.publish(self.bundle())
        self.party.start()
        self.write_settings()
        return self

    def stop(self) -> None:
        """Take it down; safe to call twice."""
        self.party.stop()
        self.estate.stop()
        self.imds.stop()
        self.aws.stop()

    def __enter__(self) -> Self:
        """Bring it up inside a with block."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Take it down."""
        self.stop()

    def bundle(self, **changes: Any) -> dict[str, Any]:
        """Give what the verifier is to hand out, as `hsm-verifier bundle put` takes it."""
        parts: dict[str, Any] = json.loads(self.estate.bundle().to_bytes())
        del parts["schema"], parts["serial"]
        if not self.pin:
            parts.pop("partition_pin", None)
        return parts | changes

    def write_settings(self, *, urls: tuple[str, ...] = (), **changes: str) -> None:
        """Write hsm-enrol.toml and put the verifier's CA and answer key beside it."""
        lines = self._lines | changes
        for name in ("verifier-ca.pem", "answer-key.pem"):
            shutil.copy(self.party.folder / name, self.config.parent / name)
        self.config.write_text(
            SETTINGS.format(
                urls=", ".join(f'"{url}"' for url in urls or (self.party.url,)),
                audience=self.party.audience,
                imds=self.imds.endpoint,
                **lines,
            )
        )

    def argv(self, *words: str) -> list[str]:
        """Give the agent's command line on this instance."""
        return [sys.executable, "-m", "hsm_enrol", "--config", str(self.config), "--root", str(self.root), *words]

    def agent(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the agent to its end; `more` goes into its environment."""
        return subprocess.run(
            self.argv(*words),
            capture_output=True,
            text=True,
            check=False,
            timeout=AGENT_LIMIT,
            env=environment(**more),
            stdin=subprocess.DEVNULL,
        )

    def begin_agent(self, *words: str, **more: str) -> subprocess.Popen[str]:
        """Start the agent and leave it running."""
        return subprocess.Popen(
            self.argv(*words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**more),
            stdin=subprocess.DEVNULL,
        )

    def reboot(self) -> None:
        """Lose what a reboot loses: /run."""
        shutil.rmtree(self.root / "run")
        (self.root / "run").mkdir()

    def show(self) -> str:
        """Give what the client shows of its HA groups, as an operator would ask it."""
        dialect = "vtl" if self.client.generation in {"5.4", "6.2"} else "lunacm"
        dialect = "vtl-dashed" if self.client.generation == "5.1" else dialect
        argv = [self.client.tool(program(dialect)), *show(dialect, self.estate.label)]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60).stdout

    @property
    def conf(self) -> str:
        """Give Chrystoki.conf's text."""
        return (self.root / "etc/Chrystoki.conf").read_text()

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Give every file of the instance but locks, logs and settings: mode and bytes, by path below its root."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if path.is_file() and not path.is_symlink() and name not in UNWATCHED and "/log/" not in name:
                found[name] = (path.stat().st_mode & 0o7777, path.read_bytes())
        return found


UNWATCHED = {"run/hsm-enrol/lock"}
