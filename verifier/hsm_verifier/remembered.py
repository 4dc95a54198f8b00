"""Knows what the audit keeps of a judgement, so that it can be judged again by another policy: claims, facts, terms.

All of it is names, ids and numbers that EC2 shows to anyone in the account who may describe instances; no evidence, no
key, no token. Tags are among them: a policy may ask for any.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hsm_enrol.wire.assertion import Instance
from hsm_verifier.inventory.facts import Facts

MAX_TAGS = 8 * 1024
"""Bytes of JSON: AWS allows 50 tags of 384 characters, whoever may tag an instance fills them; ours are far shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What V10 to V12 looked at. `judged_at` is the moment the windows were measured to, Unix seconds."""

    instance: Instance
    seen: Facts
    document: bool
    kem: str
    first_time: bool
    judged_at: float

    def as_facts(self) -> dict[str, Any]:
        """Give the audit's facts; what is unknown is left out, and so are more tags than anyone has."""
        seen = {one.name: value for one in fields(Facts) if (value := _plain(getattr(self.seen, one.name)))}
        if len(json.dumps(seen.get("tags", {}))) > MAX_TAGS:
            seen["tags"] = None
        return {
            "claims": self.instance.as_json(),
            "seen": seen,
            "document": self.document,
            "kem": self.kem,
            "first_time": self.first_time,
            "judged_at": self.judged_at,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Remembered | None:
        """Read an audit line's facts; None for a line that has none, or not such ones."""
        try:
            claims = {one.name: record["claims"].get(one.name.replace("_", "-")) for one in fields(Instance)}
            seen = {one.name: record["seen"].get(one.name) for one in fields(Facts)}
            seen["tags"] = dict(record["seen"].get("tags", {}))  # null, for too many, is none that could be judged
            seen["addresses"] = tuple(seen["addresses"] or ())
            found = cls(
                instance=Instance(**claims),
                seen=Facts(**seen),
                document=record["document"],
                kem=record["kem"],
                first_time=record["first_time"],
                judged_at=float(record["judged_at"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        moments = (found.seen.launch_time, found.seen.created)
        return found if all(one is None or isinstance(one, float | int) for one in moments) else None


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
