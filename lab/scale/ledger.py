"""Knows what the verifying parties of a simulated fleet share: the real ledger on its clock, and audits."""

from __future__ import annotations

from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import event

from hsm_enrol.wire.keys import generate_key
from hsm_verifier.audit import Audit, Fact
from hsm_verifier.chain import Head
from hsm_verifier.ledger.store import Store, sqlite_url
from hsm_verifier.policy_file import load_policy
from hsm_verifier.vault import Vault
from lab.bench.site import make_bundle
from lab.scale.simulation import Simulation

AUDIENCE = "hsm-enrol:scale"
_JULIAN_EPOCH = 2440587.5  # days; SQLite's julianday('now') is what the ledger's clock is made of


class CountingAudit(Audit):
    """Counts what would be written."""

    def __init__(self) -> None:
        """Write nowhere."""
        super().__init__(Path("/dev/null"))
        self.counted: Counter[str] = Counter()

    def write(self, event: str, now: float, **facts: Fact) -> Head:
        """Count outcome and cause."""
        del now
        self.counted[f"{event} {facts['outcome']} {facts.get('detail') or facts.get('how') or ''}".strip()] += 1
        return Head(n=0, hash="")


class Ledger:
    """What all verifying parties share: database, bundles, keys. The database's clock is the simulation's (LG2)."""

    def __init__(self, folder: Path, simulation: Simulation) -> None:
        """Make them in `folder`."""
        (folder / "bundles").mkdir()
        (folder / "policy.toml").write_bytes(
            resources.files("hsm_verifier").joinpath("samples/policy.toml").read_bytes()
        )
        self.key: ec.EllipticCurvePrivateKey = generate_key()
        self.policy = load_policy(folder / "policy.toml")
        self.vault = Vault(folder / "bundles", b"v" * 32)
        self.serial = self.vault.put("web", make_bundle(), simulation.clock())
        self.store = Store(sqlite_url(folder / "ledger.sqlite"))

        @event.listens_for(self.store.engine, "connect")
        def _connected(dbapi: Any, _record: object) -> None:
            dbapi.create_function("julianday", 1, lambda _: simulation.clock() / 86400.0 + _JULIAN_EPOCH)

        self.store.create(audience=AUDIENCE, nonce_key=b"n" * 32)
