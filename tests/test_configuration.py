"""docs/configuration.md says each key's default: the default, written down, changes nothing."""

import tomllib
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from hsm_enrol import settings as agent
from hsm_verifier import settings as verifier
from hsm_verifier.policy import Group
from hsm_verifier.policy_file import read_policy
from tests.documents import bare, table

DOCUMENT = "docs/configuration.md"
NEEDED: dict[str, dict[str, str]] = {
    "verifier": {
        "urls": '["https://vp1.example:8443"]',
        "audience": '"hsm-enrol:5d0c"',
        "ca_file": '"/etc/hsm-enrol/verifier-ca.pem"',
        "answer_keys": '["/etc/hsm-enrol/answer-key.pem"]',
    },
    "server": {"tls_certificate": '"tls.pem"', "tls_key": '"tls.key"'},
    "state": {
        "ledger": '"sqlite:///ledger"',
        "bundles": '"b"',
        "bundle_key": '"k"',
        "answer_keys": '["a"]',
        "nonce_key": '"n"',
        "aws_certs": '"c"',
        "audit": '"a"',
        "policy": '"p"',
    },
    "groups.NAME": {"accounts": '["123456789012"]', "regions": '["eu-central-1"]'},
}


def tables_of(settings: type[Any]) -> dict[str, type[Any]]:
    """Give the tables of a file by name: the members of its settings that are settings themselves."""
    hints = get_type_hints(settings)
    return {one.name: hints[one.name] for one in fields(settings) if is_dataclass(hints[one.name])}


AGENT, VERIFIER = tables_of(agent.Settings), tables_of(verifier.Settings)
TABLES = AGENT | VERIFIER | {"groups.NAME": Group}


def documented(name: str) -> dict[str, str]:
    """Give key -> default as the document has it."""
    return {bare(row["key"]): bare(row["default"]) for row in table(DOCUMENT, f"[{name}]", "key", "default")}


def own(kind: type[Any]) -> dict[str, Field[Any]]:
    return {one.name: one for one in fields(kind) if one.name != "name"}


def file_text(names: dict[str, type[Any]], *, with_defaults: bool) -> str:
    """Write a file with what is needed, and with the documented defaults if wanted."""
    lines = []
    for name in names:
        lines.append(f"[{name}]")
        for key, default in documented(name).items():
            if key in NEEDED.get(name, {}):  # also where one of two is needed
                lines.append(f"{key} = {NEEDED[name][key]}")
            elif with_defaults:
                lines.append(f"{key} = {default}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_the_document_has_the_codes_keys_in_its_order(name: str) -> None:
    assert list(documented(name)) == list(own(TABLES[name]))


@pytest.mark.parametrize("name", TABLES)
def test_what_the_document_calls_needed_has_no_default(name: str) -> None:
    without = {key for key, one in own(TABLES[name]).items() if one.default is MISSING is one.default_factory}
    assert {key for key, default in documented(name).items() if default == "needed"} == without


def test_the_agents_documented_defaults_are_the_agents() -> None:
    short, long = (file_text(AGENT, with_defaults=one).encode() for one in (False, True))
    assert len(long) > len(short)
    assert agent.parse(long, "x") == agent.parse(short, "x")


def test_the_verifiers_documented_defaults_are_the_verifiers() -> None:
    found = [
        verifier.settings_from_table(
            tomllib.loads('audience = "hsm-enrol:5d0c"\n' + file_text(VERIFIER, with_defaults=one)), Path("/x")
        )
        for one in (False, True)
    ]
    assert found[0] == found[1]


def test_the_policys_documented_defaults_are_the_policys() -> None:
    found = [
        read_policy(tomllib.loads(file_text({"groups.NAME": Group}, with_defaults=one).replace("NAME", "web")))
        for one in (False, True)
    ]
    assert found[0] == found[1]
