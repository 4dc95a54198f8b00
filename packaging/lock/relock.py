"""Knows how to write the lock files beside it: what setup.cfg asks for, exact versions, one hash a wheel we may ship.

Run by hand when a version changes: `.venv/bin/python packaging/lock/relock.py`. Versions come from
packaging/dev/constraints.txt, so that what ships is what was tested. pip resolves once for each interpreter and machine
that packages are built for; their hashes are joined. Nothing is installed.
"""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CONSTRAINTS = ROOT / "packaging/dev/constraints.txt"
PYTHONS = ("3.11", "3.13")  # Debian 12, Amazon Linux 2023, RHEL 9; Debian 13
MACHINES = ("x86_64", "aarch64")
LIBC = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")  # glibc 2.28 and older suits all of them
BUILD = ("setuptools==80.9.0",)
SOURCE = ("systemd-python==235",)
NOT_SHIPPED = {"pycparser"}  # cffi wants it to parse C at run time; what ships is compiled already


def main() -> int:
    """Write agent.txt and verifier.txt, and what systemd-python is built from and with: systemd.txt, build.txt."""
    ours = {"hsm-enrol"}
    for party, place in (("agent", ROOT / "setup.cfg"), ("verifier", ROOT / "verifier/setup.cfg")):
        parser = configparser.ConfigParser()
        parser.read(place)
        wanted = [line for line in parser["options"]["install_requires"].split("\n") if line and line not in ours]
        write(party, resolve(wanted, binary=True))
    write("build", resolve(BUILD, binary=True))
    write("systemd", resolve(SOURCE, binary=False))
    return 0


def resolve(wanted: Iterable[str], *, binary: bool) -> dict[tuple[str, str], set[str]]:
    """Give (name, version) and the hashes of its files."""
    found: dict[tuple[str, str], set[str]] = {}
    for python in PYTHONS if binary else ("",):
        for machine in MACHINES if binary else ("",):
            for item in report(wanted, python, machine)["install"]:
                name = item["metadata"]["name"].lower().replace("_", "-")
                digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
                if name not in NOT_SHIPPED:
                    found.setdefault((name, item["metadata"]["version"]), set()).add(digest)
    return found


def report(wanted: Iterable[str], python: str, machine: str) -> dict[str, Any]:
    """Ask pip what it would install."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    command += ["--constraint", str(CONSTRAINTS)]
    if python:
        command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
        command += [word for libc in LIBC for word in ("--platform", f"{libc}_{machine}")]
    else:
        command += ["--no-binary", "systemd-python", "--no-deps"]
    with tempfile.TemporaryDirectory() as nowhere:
        command += ["--target", nowhere, *wanted]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  our own words
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def write(name: str, found: dict[tuple[str, str], set[str]]) -> None:
    """Write one lock file as `pip --require-hashes` reads it."""
    lines = ["# Written by relock.py; not by hand."]
    for (project, version), digests in sorted(found.items()):
        hashes = " \\\n".join(f"    --hash=sha256:{digest}" for digest in sorted(digests))
        lines.append(f"{project}=={version} \\\n{hashes}")
    (HERE / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="ascii")


if __name__ == "__main__":
    sys.exit(main())
