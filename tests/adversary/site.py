"""A verifying party as its operator sets it up, in a folder of its own, with the laboratory's AWS to ask."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hsm_enrol.host.imds import Identity
from hsm_enrol.wire.bundle import Bundle
from hsm_enrol.wire.keys import public_from_pem
from hsm_verifier.__main__ import main
from hsm_verifier.settings import load_settings
from hsm_verifier.vault import Vault
from lab.aws import Aws
from lab.imds import ImdsServer
from lab.machine import Machine
from lab.nursery import Running, begin
from tests.adversary.party import Party, Subject, identity_at
from tests.verifier.party import make_bundle

POLICY = """
[groups.{name}]
accounts = ["111122223333"]
regions = ["eu-central-1"]
roles = ["{role}"]
{rules}
"""
OWN_SECRET = "CANARY-own-secret"  # the verifier's own AWS key: in no log
NO_LIMIT = {"wide_sources": '["127.0.0.0/8"]', "wide_factor": "100000"}


class Site:
    """Folder, AWS and, between `start` and `stop`, a running `hsm-verifier serve`.

    `groups` maps a role to further lines of that role's policy group; the group is named after the role.
    """

    def __init__(
        self, folder: Path, *, groups: dict[str, str] | None = None, server: dict[str, str] | None = None
    ) -> None:
        self.folder = folder / "vp"
        self.config = self.folder / "hsm-verifier.toml"
        self.log = folder / "verifier.log"
        self.url = ""
        self.process: Running | None = None
        self._imds: list[ImdsServer] = []
        assert main(["init", str(self.folder), "--host", "127.0.0.1"]) == 0
        self.aws = Aws(folder / "aws").start()
        (self.folder / "aws-certs" / f"{self.aws.region}.pem").write_text(self.aws.certificate_pem)
        lines = "".join(f"{name} = {value}\n" for name, value in (server or NO_LIMIT).items())
        self.edit('listen = "0.0.0.0:8443"\n', f'listen = "127.0.0.1:0"\n{lines}')
        self.edit('endpoint_url = ""', f'endpoint_url = "{self.aws.api.endpoint}"')
        self.edit('sts_connect = ""', f'sts_connect = "{self.aws.sts.connect}"')
        self.edit('ca_file = ""', f'ca_file = "{self.aws.sts.ca_file}"')
        self.groups = {"web-instance": ""} | (groups or {})
        texts = [POLICY.format(name=role, role=role, rules=rules) for role, rules in self.groups.items()]
        (self.folder / "policy.toml").write_text("".join(texts))

    def edit(self, old: str, new: str) -> None:
        """Change the settings file."""
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    @property
    def vault(self) -> Vault:
        return Vault(self.folder / "bundles", (self.folder / "secrets" / "bundle.key").read_bytes())

    def publish(self, group: str = "web-instance", bundle: Bundle | None = None) -> int:
        """Publish for a group; gives the serial."""
        return self.vault.put(group, bundle or make_bundle(pin_id=""), time.time())

    def publish_all(self) -> None:
        """Publish a bundle without PIN for every group."""
        for group in self.groups:
            self.publish(group)

    def environment(self) -> dict[str, str]:
        return dict(os.environ) | {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": OWN_SECRET}

    def start(self) -> "Site":
        """Run the service in a process of its own, as its unit does."""
        self.process = begin(["serve", "--config", str(self.config)], self.log, self.environment())
        assert self.process.stdout is not None
        with self.process.stdout as told:
            line = told.readline()
        assert line.startswith("listening on "), self.log.read_text()
        self.url = line.removeprefix("listening on ").strip()
        return self

    def stop(self) -> None:
        """End everything; the service must have ended in peace."""
        status = 0
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
        for imds in self._imds:
            imds.stop()
        self.aws.stop()
        assert status == 0, self.log.read_text()[-2000:]

    def party(self) -> Party:
        """What an asker is told of this site."""
        return Party(
            url=self.url,
            ca_file=self.folder / "verifier-ca.pem",
            audience=load_settings(self.config).audience,
            answer_keys=(public_from_pem((self.folder / "answer-key.pem").read_bytes()),),
        )

    def imds(self, machine: Machine) -> str:
        """Give the address of a machine's metadata service."""
        server = ImdsServer(machine).start()
        self._imds.append(server)
        return server.endpoint

    def launch(self, role: str = "web-instance", *, arrange: Callable[[Any], None] | None = None) -> Subject:
        """Launch an instance and give it as an asker. `arrange` changes what EC2 says of it (a lab.aws_ec2.Record)."""
        machine = self.aws.launch(role=role)
        if arrange is not None:
            arrange(self.aws.api.records[machine.instance_id])
        return Subject(self.party(), self.read(machine))

    def read(self, machine: Machine) -> Identity:
        """Ask a machine's metadata service once."""
        with ImdsServer(machine) as server:
            return identity_at(server.endpoint)

    def command(self, *words: str) -> None:
        """Run an operator's command, beside the running service."""
        assert main([*words, "--config", str(self.config)]) == 0

    def audit(self) -> list[dict[str, Any]]:
        """Give the audit's lines."""
        return [json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines()]
