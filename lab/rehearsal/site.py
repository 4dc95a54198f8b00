"""Knows how to put a site around machines: IMDS on its true address, AWS, a verifier of its own process, appliances.

Only inside a network namespace that the rehearsal made: `make_addresses` refuses to work anywhere else.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import lab
from hsm_enrol.record import PATH as RECORD
from lab.aws import Aws
from lab.imds import ImdsServer
from lab.luna.client import Client
from lab.luna.estate import Estate
from lab.party import Party
from lab.rehearsal.machine import Machine

IMDS = ("169.254.169.254", 80)
VERIFIER = "127.0.0.1:8443"
LUNA = "/usr/safenet/lunaclient"
STAND_INS = "/opt/stand-ins"  # the Luna tools' own code, the only part of the laboratory that is in the image
GENERATION = "6.2"
TOOL = """#!/usr/bin/python3 -IS
import sys

sys.path.insert(0, "{code}")
from lab.luna.tool.{tool} import main

main("{notes}")
"""
SETTINGS = """[verifier]
urls = ["https://{verifier}"]
audience = "{audience}"
ca_file = "/etc/hsm-enrol/verifier-ca.pem"
answer_keys = ["/etc/hsm-enrol/answer-key.pem"]
deadline = "{deadline}"

[luna]
tool_timeout = "20s"
"""


def make_addresses() -> None:
    """Put IMDS's address on this namespace's loopback. Raises RuntimeError where there is any other device."""
    links = json.loads(subprocess.run(["ip", "-json", "link"], capture_output=True, check=True, timeout=10).stdout)
    if [one["ifname"] for one in links] != ["lo"]:
        raise RuntimeError("this is not a network namespace of our own; nothing is done here")
    for words in (("link", "set", "lo", "up"), ("addr", "add", f"{IMDS[0]}/32", "dev", "lo")):
        subprocess.run(["ip", *words], check=True, timeout=10)


class Site:
    """All that machines talk to, below `folder`; machines are booted from `layers`, the last of which is Debian."""

    def __init__(self, folder: Path, layers: tuple[Path, ...]) -> None:
        """Make everything; nothing serves before `start`."""
        self.folder = folder
        self.layers = layers
        self.aws = Aws(folder / "aws")
        self.imds = ImdsServer(host=IMDS[0], port=IMDS[1])
        self.party = Party(folder / "verifier", self.aws)
        self.estate = Estate(appliances=2, named=True)
        self.machines: list[Machine] = []
        self.serial = 0

    def start(self) -> Self:
        """Bring it up, with a bundle published."""
        self.aws.start()
        self.imds.start()
        self.estate.start()
        self.serial = self.publish()
        self.party.start(listen=VERIFIER)
        return self

    def stop(self) -> None:
        """Take it down, machines first."""
        for machine in self.machines:
            machine.discard()
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

    def tidy(self) -> None:
        """End the machines, and have a verifier again, whatever the last journey left."""
        for machine in self.machines:
            machine.discard()
        self.machines.clear()
        self.party.stop()
        self.party.start(listen=VERIFIER)

    def publish(self) -> int:
        """Publish a bundle with the appliances and the client pair of now; gives its serial."""
        return self.party.publish(self.parts())

    def launch(self) -> None:
        """Start another EC2 instance; from now on IMDS speaks of it."""
        self.imds.machine = self.aws.launch()

    def machine(self, name: str, *, settings: bool = True, deadline: str = "60s") -> Machine:
        """Give a machine for a new instance, with the Luna client installed; off."""
        self.launch()
        made = Machine(name, self.folder / "machines" / name, self.layers)
        self.machines.append(made)
        self.install_client(made)
        if settings:
            for path, text in self.settings(deadline).items():
                made.write(path, text)
        return made

    def bare(self, name: str) -> Machine:
        """Give a machine with Debian and nothing else of ours, for no instance; off."""
        made = Machine(name, self.folder / "machines" / name, self.layers[-1:])
        self.machines.append(made)
        made.write("/etc/machine-id", "")
        made.write("/etc/cloud/cloud-init.disabled", "")
        (made.root / "var/log/journal").mkdir(parents=True, exist_ok=True)
        return made

    def parts(self) -> dict[str, Any]:
        """Give a bundle with the appliances and the client pair of now, as one publishes it."""
        parts: dict[str, Any] = json.loads(self.estate.bundle().to_bytes())
        del parts["schema"], parts["serial"]
        return parts

    def clone(self, machine: Machine, name: str) -> Machine:
        """Give a copy of a machine that is off, for a new instance."""
        self.launch()
        made = machine.clone(name, self.folder / "machines" / name)
        self.machines.append(made)
        return made

    def settings(self, deadline: str = "60s") -> dict[str, str]:
        """Give the agent's settings for this site: paths and texts, all public."""
        text = SETTINGS.format(verifier=VERIFIER, audience=self.party.audience, deadline=deadline)
        return {
            "/etc/hsm-enrol/hsm-enrol.toml": text,
            "/etc/hsm-enrol/verifier-ca.pem": (self.party.folder / "verifier-ca.pem").read_text(),
            "/etc/hsm-enrol/answer-key.pem": (self.party.folder / "answer-key.pem").read_text(),
        }

    def install_client(self, machine: Machine) -> None:
        """Install the Luna client's stand-in, as if the vendor's installer had run inside."""
        here = Path(lab.__file__).parent
        there = machine.root / STAND_INS.lstrip("/") / "lab"
        shutil.copytree(here / "luna", there / "luna", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(here / "__init__.py", there)
        notes = machine.root / LUNA.lstrip("/") / ".stand-in"
        self.estate.install(GENERATION, machine.root, notes=notes)
        facts = json.loads((notes / "facts.json").read_text())
        (notes / "facts.json").write_text(json.dumps(facts | {"root": "", "maker": ["/bin/false"]}))
        for tool in ("vtl", "lunacm"):
            program = machine.root / LUNA.lstrip("/") / "bin" / tool
            program.write_text(TOOL.format(code=STAND_INS, tool=tool, notes=f"{LUNA}/.stand-in"))

    def client(self, machine: Machine) -> Client:
        """Give the switches of the Luna tools in a machine."""
        return Client(
            machine.root, GENERATION, LUNA, "/etc/Chrystoki.conf", machine.root / LUNA.lstrip("/") / ".stand-in"
        )

    def asked(self) -> int:
        """Count the enrolments that the verifier decided on, whatever the answer."""
        return sum(1 for line in self.party.audit() if line["event"] == "enrolment")

    def record(self, machine: Machine) -> dict[str, Any]:
        """Give what the agent in a machine remembers."""
        found: dict[str, Any] = json.loads(machine.read(RECORD))
        return found
