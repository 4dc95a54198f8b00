"""Knows how to run the real verifier: init, policy and bundle by its own commands, serving in a process of its own."""

from __future__ import annotations

import io
import json
import os
import signal
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Self

from hsm_verifier.__main__ import main as verifier_main
from lab.aws import Aws
from lab.nursery import Running, begin

ROOT = Path(__file__).parent.parent
START = 30.0  # seconds it may take to listen or to end
POLICY = """[groups.web]
accounts = ["{account}"]
regions = ["{region}"]
roles = ["web-instance"]
level = "{level}"
{more}
"""


def environment(**more: str) -> dict[str, str]:
    """Give what a child of the laboratory has: this checkout's code, no AWS settings and no proxies of the caller's."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    kept = {name: value for name, value in kept.items() if not name.startswith("AWS_")}
    path = [str(ROOT / "agent"), str(ROOT / "verifier"), str(ROOT)]
    if "PYTHONPATH" in kept:
        path.append(kept["PYTHONPATH"])
    own = {
        "AWS_ACCESS_KEY_ID": "AKIALABORATORY",
        "AWS_SECRET_ACCESS_KEY": "laboratory",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return kept | own | {"PYTHONPATH": os.pathsep.join(path)} | more


class CommandError(Exception):
    """A command of the verifier failed; its stderr is in the text."""


class _Told(io.StringIO):
    """What a command prints; as `terminal` it is one that does not say how wide it is."""

    terminal = False

    def isatty(self) -> bool:
        return self.terminal


class Party:
    """One verifying party below `folder`. `url` is known once it serves; its log is `folder`/log."""

    def __init__(self, folder: Path, aws: Aws, *, level: str = "identity-role", policy: str = "") -> None:
        """Make keys, ledger, TLS and policy with `hsm-verifier init`; `policy` is more lines for the group `web`."""
        self.folder = folder
        self.config = folder / "hsm-verifier.toml"
        self.url = ""
        self.noted = ""  # stderr of the last command that went well
        self._process: Running | None = None
        self.command("init", str(folder), "--host", "127.0.0.1", config=False)
        text = self.config.read_text()
        for key, value in (
            ("endpoint_url", aws.api.endpoint),
            ("sts_connect", aws.sts.connect),
            ("ca_file", str(aws.sts.ca_file)),
        ):
            text = text.replace(f'{key} = ""', f'{key} = "{value}"')
        self.config.write_text(text)
        (folder / "aws-certs" / f"{aws.region}.pem").write_text(aws.certificate_pem)
        self.set_policy(POLICY.format(account=aws.account_id, region=aws.region, level=level, more=policy))

    def set_policy(self, text: str) -> None:
        """Replace the policy; it is read at the next start."""
        (self.folder / "policy.toml").write_text(text)

    @property
    def audience(self) -> str:
        """Give the name of this ledger, as agents have it in their settings."""
        line = next(one for one in self.config.read_text().splitlines() if one.startswith("audience"))
        return line.split('"')[1]

    def command(self, *words: str, config: bool = True, at_a_terminal: bool = False) -> str:
        """Run one `hsm-verifier` command, in this process for speed; give its stdout. CommandError when it fails."""
        argv = [*words, *(["--config", str(self.config)] if config else [])]
        told, complained = _Told(), io.StringIO()
        told.terminal = at_a_terminal
        with redirect_stdout(told), redirect_stderr(complained):
            status = verifier_main(argv)
        if status:
            raise CommandError(f"hsm-verifier {words[0]}: exit {status}: {complained.getvalue()}")
        self.noted = complained.getvalue()
        return told.getvalue()

    def publish(self, bundle: dict[str, object], group: str = "web") -> int:
        """Publish a bundle (a JSON object without serial); give its serial. The file is gone afterwards."""
        path = self.folder / "bundle.json"
        path.touch(0o600)
        path.write_text(json.dumps(bundle))
        try:
            return int(self.command("bundle", "put", "--group", group, str(path)).split()[-1])
        finally:
            path.unlink()

    def start(self, *, listen: str = "127.0.0.1:0", **more: str) -> Self:
        """Serve; returns once it listens. `more` goes into its environment."""
        words = ["serve", "--config", str(self.config), "--listen", listen]
        self._process = begin(words, self.folder / "log", environment(**more))
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("listening on "):
            self.kill()
            raise RuntimeError("the verifier did not start:\n" + (self.folder / "log").read_text())
        self.url = line.removeprefix("listening on ").strip()
        return self

    @property
    def listen(self) -> str:
        """Give HOST:PORT of the address that it serves, so that it can come back there."""
        return self.url.removeprefix("https://")

    def stop(self) -> None:
        """End it as systemd does, with SIGTERM; safe to call twice."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(START)
            if process.stdout is not None:
                process.stdout.close()

    def audit(self) -> list[dict[str, object]]:
        """Give the audit's lines."""
        return [json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines()]

    def __enter__(self) -> Self:
        """Serve inside a with block."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """End."""
        self.stop()
