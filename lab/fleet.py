"""Knows how to make up a fleet that a verifier has served: for looking at its page and for measuring it.

Nothing here was enrolled: rows go straight into ledger and audit, at the moments asked for, the same at every call.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from hsm_verifier.audit import Audit
from hsm_verifier.ledger.schema import gates, instances, slots
from hsm_verifier.ledger.store import Store
from hsm_verifier.settings import Settings
from hsm_verifier.vault import Bundles
from lab.fleet_bundles import DAY, bundle_of, members_of

NOW = 1_800_000_000.0  # a Friday morning in January 2027, so that pictures stay the same
HOSTILE = "i-0badc0ffee0ddf00d"
HOSTILE_NAME = (
    '\x1b[31m"><script>document.title="owned"</script>\x1b]0;owned\x07<img src=x onerror=alert(1)>\u202egnp.exe'
)
HOSTILE_ERROR = "</td><svg/onload=alert(2)>\x1b[2J"

GROUPS = """
[groups.web]
accounts = ["111122223333"]
regions = ["eu-central-1"]
roles = ["web-instance"]

[groups.batch]
accounts = ["111122223333"]
regions = ["eu-central-1", "eu-west-1"]
roles = ["batch-instance"]

[groups.signing]
accounts = ["444455556666"]
regions = ["eu-central-1"]
roles = ["signing-instance"]
demand_iid = true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUp:
    """What was made: the current serial of each group, and how many instances."""

    serials: dict[str, int]
    count: int


def make_up(settings: Settings, store: Store, vault: Bundles, *, count: int = 236, now: float = NOW) -> MadeUp:
    """Fill ledger, bundles, policy and audit. `now` in Unix seconds is the moment at which it will be looked at."""
    dice = random.Random(4711)
    Path(settings.state.policy).write_text(GROUPS, encoding="utf-8")
    serials = {}
    for group, published, ends in (("batch", 75, 19), ("web", 12, 211), ("signing", 2, 700)):
        then = now - published * DAY
        serials[group] = vault.put(group, bundle_of(group, then, now + ends * DAY), then)
    rows = [_instance(dice, serials, number, now) for number in range(count)]
    rows += [_hostile(serials, now)]
    with store.deciding() as tx:
        tx.execute(insert(instances), [row for row, _ in rows])
        tx.execute(insert(slots), [slot for _, slot in rows])
        tx.execute(insert(gates), list(_gates()))
    audit = Audit(Path(settings.state.audit))
    told = sorted(_told(dice, rows, now), key=lambda line: line[0])
    for when, event, facts in told:
        audit.write(event, when, **facts)
    return MadeUp(serials=serials, count=len(rows))


def _instance(
    dice: random.Random, serials: dict[str, int], number: int, now: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    group = dice.choices(("web", "batch", "signing"), (6, 3, 1))[0]
    name = f"i-0{dice.getrandbits(64):016x}"
    # Waves, as scaling groups make them: a morning's, a nightly batch, and some at any time.
    hours = dice.choice((dice.gauss(1.4, 0.5), dice.gauss(9, 1), dice.gauss(21, 1.5), dice.uniform(0, 200)))
    age = max(0.1, hours) * 3600
    state, serial = "CONFIRMED", serials[group]
    result: str | None = "installed"
    code: str | None = None
    if number % 40 == 7:
        serial -= int(40 * DAY)  # it has not fetched the newer bundle yet
        age += 41 * DAY
    elif number % 25 == 3:
        state, result, age = "TAKEN", None, dice.uniform(60, 900)
    elif number % 59 == 5:
        state, result, code, age = "TAKEN", "failed", dice.choice(("no_slots", "tool_failed")), dice.uniform(900, 7200)
    elif number % 90 == 11:
        state, result, age = "TAKEN", None, dice.uniform(8, 11) * DAY
    elif number % 80 == 13:
        state = "REVOKED"
    owner = "".join(dice.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", k=43))
    return _rows(name, group, serial, state, taken=now - age, owner=owner, result=result, code=code)


def _hostile(serials: dict[str, int], now: float) -> tuple[dict[str, Any], dict[str, Any]]:
    return _rows(
        HOSTILE,
        "web",
        serials["web"],
        "TAKEN",
        taken=now - 240,
        owner="H" * 43,
        result="failed",
        code=HOSTILE_ERROR[:32],
    )


def _rows(
    name: str, group: str, serial: int, state: str, *, taken: float, owner: str, result: str | None, code: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        {
            "instance_id": name,
            "owner": owner,
            "jwk": "{}",
            "grp": group,
            "launch_time": taken - 50,
            "pending_time": None,
            "takeovers": 0,
            "asked": taken,
        },
        {
            "instance_id": name,
            "serial": serial,
            "state": state,
            "grp": group,
            "level": "identity-role",
            "taken_at": taken,
            "confirmed_at": taken + 6 if state == "CONFIRMED" else None,
            "nonce": "",
            "hour": taken,
            "answers": 1,
            "trial": 0,
            "result": result,
            "code": code,
            "pin": "accepted" if state == "CONFIRMED" else None,
        },
    )


def _gates() -> Iterator[dict[str, Any]]:
    for group, state in (("web", "PROVEN"), ("batch", "HALTED"), ("signing", "UNPROVEN")):
        yield {
            "pin_id": f"pin-of-{group}",
            "members": ",".join(members_of(group)),
            "state": state,
            "trying": 0,
            "tries": 2 if state == "HALTED" else 0,
        }


def _told(
    dice: random.Random, rows: list[tuple[dict[str, Any], dict[str, Any]]], now: float
) -> Iterator[tuple[float, str, dict[str, Any]]]:
    """Give audit lines: who was served in the last day, who was refused and why."""
    for row, slot in rows:
        name, taken = row["instance_id"], row["asked"]
        host = f"ip-10-{dice.randrange(4)}-{dice.randrange(256)}-{dice.randrange(1, 255)}.eu-central-1.compute.internal"
        seen: dict[str, Any] = {"private_dns": host, "tags": {"Name": f"{row['grp']}-{dice.randrange(100):02d}"}}
        if name == HOSTILE:
            seen = {"private_dns": HOSTILE_NAME, "tags": {"Name": HOSTILE_NAME}}
        facts = {
            "decision": f"{dice.getrandbits(48):012x}",
            "instance": name,
            "owner": row["owner"],
            "group": row["grp"],
            "source": f"10.{dice.randrange(4)}.{dice.randrange(256)}.{dice.randrange(1, 255)}",
            "seen": seen,
        }
        if taken > now - DAY or name == HOSTILE:
            yield taken, "enrolment", facts | {"outcome": "answered", "how": "new", "serial": slot["serial"]}
        if name == HOSTILE:
            told = {"outcome": "refused", "reason": "evidence_invalid", "detail": HOSTILE_ERROR, "alarm": True}
            yield now - 200, "enrolment", facts | told
    for number, (reason, detail) in enumerate(_REFUSALS):
        facts = {
            "decision": f"{dice.getrandbits(48):012x}",
            "outcome": "refused",
            "instance": f"i-0{dice.getrandbits(64):016x}",
            "source": f"10.2.{dice.randrange(256)}.{dice.randrange(1, 255)}",
            "reason": reason,
            "detail": detail,
            "alarm": reason == "already_enrolled" or None,
            "owner": "K" * 43,
        }
        yield now - 900 * (number + 1) ** 1.6, "enrolment", facts


_REFUSALS = (
    ("hold", "V13 halted"),
    ("hold", "V13 halted"),
    ("not_admitted", "V10 no_group"),
    ("already_enrolled", "O1 another_key"),
    ("clock_skew", "V4 amz_date"),
    ("not_visible_yet", "V9 not_found"),
    ("nonce_stale", "V4 nonce"),
)
