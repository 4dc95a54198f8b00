"""Knows the cloud-init user data that packaging/ offers: the example, and the one inside the fleet's template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"


def example() -> str:
    """Give packaging/cloud-init/user-data.yaml."""
    return (PACKAGING / "cloud-init/user-data.yaml").read_text()


def fleet(values: Mapping[str, str]) -> str:
    """Give the user data in packaging/aws/fleet.yaml as CloudFormation would make it of these parameters."""
    template = (PACKAGING / "aws/fleet.yaml").read_text()
    found = re.search(r"^( *)Fn::Base64: !Sub \|\n((?:\1  .*\n|\n)+)", template, re.MULTILINE)
    if found is None:
        raise LookupError("no user data in fleet.yaml")
    text = re.sub(rf"^{found[1]}  ", "", found[2], flags=re.MULTILINE)
    return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], text)


def with_file(text: str, path: str, content: str) -> str:
    """Give user data whose write_files entry for `path` has this content."""
    entry = rf"(  - path: {re.escape(path)}\n    permissions: \"0644\"\n    content: \|\n)(?:      .*\n|\n)+"
    lines = "".join(f"      {line}\n" for line in content.splitlines())
    changed, count = re.subn(entry, lambda match: match[1] + lines, text)
    if count != 1:
        raise LookupError(f"no entry for {path}")
    return changed
