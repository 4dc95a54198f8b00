"""Knows how to stand up what a load test needs: AWS in one process, `hsm-verifier serve` in another, a bundle between.

The verifier is the operator's own: made by `hsm-verifier init`, its ledger durable, its settings changed only where a
laptop must (AWS's addresses) and where all askers share one address (the caps of V1).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hsm_enrol.wire.bundle import Bundle, Client, Ha, Pin, Server
from hsm_enrol.wire.keys import public_from_pem
from hsm_verifier.__main__ import main as hsm_verifier
from hsm_verifier.settings import load_settings
from hsm_verifier.vault import Vault
from lab import pki
from lab.bench.asker import Facts, Party
from lab.bench.cpu import Used, used_by
from lab.postgres import Postgres

ROOT = Path(__file__).parents[2]
START_SECONDS = 60
CAPS = """\
wide_sources = ["127.0.0.0/8"]
requests_per_source = 1000.0
burst_per_source = 1000
"""


@dataclass(slots=True, kw_only=True)
class AwsApart:
    """AWS and the fleet it launched."""

    folder: Path
    process: subprocess.Popen[str]
    told: dict[str, str]
    counted: dict[str, dict[str, int]] = field(default_factory=dict)

    def fleet(self) -> list[Facts]:
        """Read the instances."""
        return [Facts.from_json(line) for line in (self.folder / "fleet.jsonl").read_text().splitlines()]

    def used(self) -> Used:
        """Look at its CPU."""
        return used_by(self.process.pid)


@contextlib.contextmanager
def aws_apart(folder: Path, count: int) -> Iterator[AwsApart]:
    """Run AWS with `count` instances; `counted` holds calls by action and answer afterwards."""
    command = [sys.executable, "-m", "lab.bench.aws_apart", str(folder), str(count)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=child_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if process.stdin is None or process.stdout is None:
        raise TypeError("both are pipes")
    with process.stdin, process.stdout:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the laboratory's AWS did not start")
        aws = AwsApart(folder=folder, process=process, told=json.loads((folder / "aws.json").read_text()))
        try:
            yield aws
        finally:
            process.stdin.close()
            aws.counted.update(json.loads(process.stdout.readline() or "{}"))
            process.wait(START_SECONDS)


@dataclass(slots=True, kw_only=True)
class Verifier:
    """A verifier in its folder, listening on a socket that we hold, so that a restart refuses nobody.

    `count` processes share socket, ledger and audit, as the units `hsm-verifier@…` do.
    """

    folder: Path
    listener: socket.socket
    serial: int
    count: int = 1
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def config(self) -> Path:
        """Give the settings file."""
        return self.folder / "hsm-verifier.toml"

    @property
    def address(self) -> tuple[str, int]:
        """Give where it listens."""
        host, port = self.listener.getsockname()[:2]
        return str(host), int(port)

    @property
    def party(self) -> Party:
        """Give what its instances are told."""
        return Party(
            audience=load_settings(self.config).audience,
            answer_key=public_from_pem((self.folder / "answer-key.pem").read_bytes()),
        )

    def start(self) -> None:
        """Start and wait until it says that it listens."""
        self.processes = [self._started(number) for number in range(self.count)]

    def _started(self, number: int) -> subprocess.Popen[str]:
        admin = ["--admin", f"unix:{self.folder}/admin-{number}.sock"] if number else []
        serve = [sys.executable, "-m", "hsm_verifier", "serve", "--config", str(self.config), *admin]
        fd = self.listener.fileno()
        with (self.folder / "stderr").open("a") as stderr:
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("socket_held.py")), str(fd), *serve],
                cwd=ROOT,
                env=child_environment() | {"AWS_ACCESS_KEY_ID": "AKIALAB", "AWS_SECRET_ACCESS_KEY": "lab"},
                pass_fds=(fd,),
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        if process.stdout is None or not process.stdout.readline().startswith("listening on "):
            raise RuntimeError((self.folder / "stderr").read_text()[-2000:])
        return process

    def stop(self) -> None:
        """Ask it to stop as systemd does, and wait."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(START_SECONDS)
            if process.stdout is not None:
                process.stdout.close()

    def used(self) -> Used:
        """Look at its CPU and memory: the sum, and the largest."""
        if not self.processes:
            raise RuntimeError("not started")
        found = [used_by(process.pid) for process in self.processes]
        return Used(
            user=sum(one.user for one in found),
            system=sum(one.system for one in found),
            peak_mib=max(one.peak_mib for one in found),
        )


@contextlib.contextmanager
def verifier(
    folder: Path, aws: AwsApart, *, server: str = "", database: Postgres | None = None, count: int = 1
) -> Iterator[Verifier]:
    """Make and run a verifier for this AWS, of `count` processes.

    `server` is TOML for `[server]`; the ledger is SQLite, or `database`.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        if hsm_verifier(["init", str(folder), "--host", "127.0.0.1"]):
            raise RuntimeError("hsm-verifier init failed")
    config = folder / "hsm-verifier.toml"
    told = aws.told
    text = config.read_text().replace('endpoint_url = ""', f'endpoint_url = "{told["ec2"]}"')
    text = text.replace('sts_connect = ""', f'sts_connect = "{told["sts"]}"')
    text = text.replace('ca_file = ""', f'ca_file = "{told["ca_file"]}"')
    text = text.replace("[server]\n", "[server]\n" + CAPS + server)
    if database is not None:
        text = _with_database(text, folder, database)
    config.write_text(text)
    if database is not None:
        with contextlib.redirect_stdout(io.StringIO()):
            if hsm_verifier(["ledger", "create", "--config", str(config)]):
                raise RuntimeError("hsm-verifier ledger create failed")
    (folder / "aws-certs" / f"{told['region']}.pem").write_text(told["certificate"])
    vault = Vault(folder / "bundles", (folder / "secrets" / "bundle.key").read_bytes())
    serial = vault.put("web", make_bundle(), time.time())
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        running = Verifier(folder=folder, listener=listener, serial=serial, count=count)
        running.start()
        try:
            yield running
        finally:
            running.stop()


def _with_database(text: str, folder: Path, database: Postgres) -> str:
    """Put the ledger on PostgreSQL, over TLS and with a password, as docs/operating.md says."""
    database.create("bench")
    secret = folder / "secrets/ledger.password"
    secret.touch(0o600)
    secret.write_text(database.password)
    lines = f'ledger = "{database.tls_url("bench")}"\nledger_password = "secrets/ledger.password"'
    return re.sub(r'^ledger = ".*"$', lines, text, flags=re.MULTILINE)


def make_bundle() -> Bundle:
    """Make an ordinary bundle: RSA-2048 client pair, two appliances, a PIN."""
    pair = pki.self_signed(pki.name(CN="web"))
    servers = [pki.self_signed(pki.name(CN=f"hsm{number}.example")) for number in (1, 2)]
    return Bundle(
        serial=1,
        client=Client(name="web", certificate=pair.certificate_pem, private_key=pair.key_pem),
        servers=tuple(
            Server(address=f"hsm{number}.example", port=1792, certificate=one.certificate_pem)
            for number, one in enumerate(servers, 1)
        ),
        ha=Ha(label="bench", members=("1234567", "2345678"), only=True, retry=-1, interval=60),
        pin=Pin(id="bench-pin-000001", value="correct-horse"),
    )


def child_environment() -> dict[str, str]:
    """Let children import this checkout, whatever is installed."""
    ours = (ROOT / "agent", ROOT / "verifier", ROOT)
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([*map(str, ours), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
