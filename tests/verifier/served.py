"""Starts the real verifier's process over real TLS, with AWS and the policy played (played_server.py)."""

import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from hsm_verifier.__main__ import main
from hsm_verifier.vault import Vault
from lab.nursery import Born, Main, Running
from tests.verifier import played_server
from tests.verifier.party import make_bundle

SERVER = Path(__file__).with_name("played_server.py")


@dataclass
class Served:
    """A server process: its folder, port and CA."""

    folder: Path
    process: Running
    port: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> str:
        return str(self.folder / "verifier-ca.pem")

    def session(self) -> requests.Session:
        made = requests.Session()
        made.trust_env = False
        made.verify = self.ca_file
        return made

    def connect(self, *, tls: bool = True, first: bytes = b"") -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        raw.sendall(first)
        if not tls:
            return raw
        context = ssl.create_default_context(cafile=self.ca_file)
        return context.wrap_socket(raw, server_hostname="127.0.0.1")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def publish(self) -> int:
        vault = Vault(self.folder / "bundles", (self.folder / "secrets" / "bundle.key").read_bytes())
        return vault.put("web", make_bundle(), time.time())


@contextmanager
def serving(folder: Path, run: Main = played_server.main, **changes: object) -> Iterator[Served]:
    """Serve from a new folder by `run`, with `[server]` settings changed; stopped at the end."""
    assert main(["init", str(folder), "--host", "127.0.0.1"]) == 0
    config = folder / "hsm-verifier.toml"
    lines = "".join(f"{name} = {value}\n" for name, value in changes.items())
    config.write_text(config.read_text().replace('listen = "0.0.0.0:8443"\n', 'listen = "127.0.0.1:0"\n' + lines))
    process = Born(run, [str(folder)], Path(os.devnull), os.environ)
    assert process.stdout is not None
    one = Served(folder=folder, process=process, port=0)
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on https://127.0.0.1:"), line
        one.port = int(line.rsplit(":", 1)[1])
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        if one.process.stdout is not None and not one.process.stdout.closed:
            one.process.stdout.close()
