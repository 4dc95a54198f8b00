"""Knows what a partition does: counts PIN tries, locks itself, and answers the questions of the made-up protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class Partition:
    """A partition: `limit` wrong PINs in a row lock it. `tries` counts all of them, right or wrong, for tests."""

    serial: str
    label: str
    pin: str = field(repr=False)
    objects: bool = False
    limit: int = 10
    failures: int = 0
    tries: int = 0
    copies: int = 0  # times somebody answered `copy` when asked about the objects
    removed: bool = False  # somebody answered `remove`

    @property
    def locked(self) -> bool:
        """Tell whether no PIN is taken any more."""
        return self.failures >= self.limit

    def login(self, pin: str) -> str:
        """Spend a try: ok, incorrect or locked. A right PIN forgets the wrong ones before it."""
        self.tries += 1
        if self.locked:
            return "locked"
        if pin != self.pin:
            self.failures += 1
            return "locked" if self.locked else "incorrect"
        self.failures = 0
        return "ok"

    def lock(self) -> None:
        """Be as after too many wrong PINs."""
        self.failures = self.limit


def answer(visible: Mapping[str, Partition], asked: dict[str, Any]) -> dict[str, Any]:
    """Answer one question of a client that sees these partitions."""
    if asked.get("ask") == "partitions":
        return {"partitions": [{"serial": one.serial, "label": one.label} for one in visible.values()]}
    partition = visible.get(asked.get("serial", ""))
    if partition is not None and asked["ask"] == "login":
        return {"result": partition.login(asked["pin"]), "objects": partition.objects}
    if partition is not None and asked["ask"] == "objects":
        partition.copies += asked["answer"] == "copy"
        partition.removed |= asked["answer"] == "remove"
        return {"result": "ok"}
    return {"result": "unknown"}
