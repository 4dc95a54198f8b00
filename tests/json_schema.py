"""Knows how to hold a command's JSON against docs/schema, and to refuse members that are not documented there."""

from __future__ import annotations

import json
from typing import Any

import jsonschema

from tests.documents import ROOT

FILE = ROOT / "docs/schema/hsm-enrol-1.json"
SCHEMA: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
KINDS: tuple[str, ...] = tuple(SCHEMA["$defs"])


def closed(schema: Any) -> Any:
    """Give a schema in which no object may have more members than are described."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items()}
    if "properties" in found and isinstance(found.get("type"), str):
        found["additionalProperties"] = False
    return found


_CLOSED = closed(SCHEMA)


def kind_of(told: object) -> str:
    """Give the one object of the schema that this is, undocumented members being a fault."""
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    fitting: list[str] = []
    for name in KINDS:
        one = {**_CLOSED, "$id": f"urn:test:{name}", "$ref": f"#/$defs/{name}"}
        del one["oneOf"]
        if jsonschema.Draft202012Validator(one, format_checker=checker).is_valid(told):
            fitting.append(name)
    assert len(fitting) == 1, (fitting, told)
    return fitting[0]
