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
