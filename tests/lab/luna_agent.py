"""The agent's own installation, from a bundle to a record, on a host with a stand-in client; no verifier is asked."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsm_enrol.host.lock import Lock
from hsm_enrol.host.site import Site
from hsm_enrol.host.voice import Voice
from hsm_enrol.install import Wanted, install
from hsm_enrol.model import Desired
from hsm_enrol.pin_use import PinUse
from hsm_enrol.plan import NOTHING
from hsm_enrol.record import Record, desired_from_bundle
from hsm_enrol.settings import LunaSettings, Settings, VerifierSettings
from lab.luna.client import Client
from lab.luna.estate import Estate

Tree = dict[str, tuple[int, str | bytes]]


@dataclass(kw_only=True)
class Agent:
    """One run of it. `states` are what was noted of the PIN: before the try, and after each tool that took it."""

    estate: Estate
    client: Client
    pin: str | None = None  # another than the estate's
    luna: dict[str, Any] = field(default_factory=dict)
    states: list[str] = field(default_factory=list)
    said: io.StringIO = field(default_factory=io.StringIO)

    def enrol(self) -> Desired:
        """Install; raises what `install` raises, with everything undone."""
        bundle, root = self.estate.bundle(), str(self.client.root)
        conf = "" if self.client.env_conf is None else self.client.conf_path
        settings = Settings(
            verifier=VerifierSettings(urls=("https://vp.lab",), audience="lab", ca_file="/ca", answer_keys=("/key",)),
            luna=LunaSettings(prefix=self.client.prefix if conf else "", config=conf, **self.luna),
            root=root,
        )
        site = Site.of(settings)
        desired = desired_from_bundle(bundle, site.paths(bundle.client.name, bundle.client.certificate))
        pin = PinUse(
            id="pin-2026a",
            value=bytearray((self.pin or self.estate.pin).encode()),
            state="untried",
            usable=True,
            deliverable=False,
            before_try=lambda: self.states.append("tried"),
            after_try=self.states.append,
        )
        wanted = Wanted(
            desired=desired,
            former=NOTHING,
            by_tools=settings.luna.join == "tool",
            proven=True,
            pin=pin,
            before=None,
            record=lambda reached, tx, before: Record(
                agent="lab", instance_id="i-0", tx=tx, installed=reached, before=before
            ),
            settings_path=os.devnull,
        )
        with Lock(f"{root}/run/hsm-enrol/lock") as lock:
            return install(wanted, site, lock, Voice(stream=self.said))

    def tree(self) -> Tree:
        """Give every file and link of the host but the lock and the stand-in's own notes."""
        found: Tree = {}
        for path in sorted(self.client.root.rglob("*")):
            name = str(path.relative_to(self.client.root))
            if path.is_symlink():
                found[name] = (0, str(path.readlink()))
            elif path.is_file() and not name.startswith((".lab-luna", "run/hsm-enrol/lock")):
                found[name] = (path.stat().st_mode, path.read_bytes())
        return found


def agent(estate: Estate, generation: str, root: Path, **options: Any) -> Agent:
    """Give an agent on a host where a client was just installed."""
    for folder in ("var/lib", "run/hsm-enrol"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    luna: dict[str, Any] = options.pop("luna", {})
    return Agent(estate=estate, client=estate.install(generation, root, **options), luna=luna)
