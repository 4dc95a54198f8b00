"""Claims on a slot as `decide` makes them when every check has passed: for the tests of the ledger."""

from dataclasses import replace
from typing import Any

from hsm_verifier.ledger.gate import GateKey
from hsm_verifier.ledger.rows import Claim

SERIAL = 1_800_000_000
GATE = GateKey(pin_id="pin-00000001", members=("1", "2"))


def owner(number: int, key: str = "k") -> str:
    """Give the thumbprint of the owner key that `key` stands for."""
    return f"{number:04d}{key}".ljust(43, "k")[:43]


def claim(number: int = 1, key: str = "k", **changes: Any) -> Claim:
    """Give the claim of instance `number` the first time that it asks, by the owner key that `key` stands for."""
    plain = Claim(
        instance_id=f"i-{number:017x}",
        owner=owner(number, key),
        jwk="{}",
        group="web",
        serial=SERIAL,
        nonce=f"nonce-{number}-{key}",
        level="identity-role",
        first_time=True,
        launch_time=1.0,
        pending_time=None,
        have=None,
        lost_key="grant",
        gate=None,
    )
    return replace(plain, **changes)
