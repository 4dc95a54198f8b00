"""Knows how to list what a package holds, as CycloneDX: each bundled project with version, licence and archive digest.

`sbom.py NAME VERSION SITE ARCHIVES...` writes JSON to stdout. Only what lies in SITE is listed; what the package asks
of the distribution (Python, libc, systemd) is in its Depends. The same SITE gives the same bytes: the serial number is
made of the content, and the time is SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import datetime as dt
import email.parser
import hashlib
import json
import os
import re
import sys
import uuid
from pathlib import Path
from typing import Any


def main(argv: list[str]) -> int:
    """Write the list."""
    name, version, site, *archives = argv
    components = [component(info, archives) for info in sorted(Path(site).glob("*.dist-info"))]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": "",
        "version": 1,
        "metadata": {
            "timestamp": dt.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), dt.UTC).isoformat(),
            "component": {
                "type": "application",
                "bom-ref": name,
                "name": name,
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": components,
        "dependencies": [{"ref": name, "dependsOn": [one["bom-ref"] for one in components]}],
    }
    content = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).digest()
    document["serialNumber"] = f"urn:uuid:{uuid.UUID(bytes=content[:16], version=4)}"
    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 0


def component(info: Path, archives: list[str]) -> dict[str, Any]:
    """Describe one installed project by its METADATA and the archive it came out of."""
    headers = email.parser.HeaderParser().parsestr((info / "METADATA").read_text(encoding="utf-8"))
    name, version = normal(headers["Name"]), headers["Version"]
    purl = f"pkg:pypi/{name}@{version}"
    found: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    licence = headers["License-Expression"] or headers["License"]
    if headers["License-Expression"]:
        found["licenses"] = [{"expression": licence}]
    elif licence and "\n" not in licence:
        found["licenses"] = [{"license": {"name": licence}}]
    archive = archive_of(name, version, archives)
    found["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(archive.read_bytes()).hexdigest()}]
    return found


def archive_of(name: str, version: str, folders: list[str]) -> Path:
    """Find the wheel or source archive of a project; LookupError when it is not there."""
    for folder in folders:
        for path in sorted(Path(folder).iterdir()):
            project, _, rest = path.name.partition(f"-{version}")
            if rest and normal(project) == name:
                return path
    raise LookupError(f"no archive of {name} {version}")


def normal(name: str) -> str:
    """Give a project's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
