"""Knows what it costs that an installed agent can write no byte code: the package's own tree, mounted read-only.

`python -m lab.bench.installed --deb dist/hsm-enrol_….deb` unpacks the package and runs its agent three times a round:
from the read-only tree, from a tree of the same files whose byte code Python wrote there itself, and from a read-only
tree without any. Wants root: the mounts are made in a mount namespace of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lab.bench.contestants import plain_environment
from lab.bench.place import Place, place
from lab.bench.process import Runner

PACKAGE, WRITTEN, BARE = "package, read-only", "byte code written here", "read-only, no byte code"
BAR = 1.1  # package : written, wall time
LAUNCHER = """#!/usr/bin/python3 -IBS
import sys

sys.path.append({site!r})

from hsm_enrol.__main__ import main  # noqa: E402

sys.exit(main())
"""
Costs = dict[str, dict[str, list[float]]]
"""Wall milliseconds by job, then by tree."""


def trees(deb: Path, folder: Path) -> dict[str, Path]:
    """Unpack the package; give a launcher for each tree by its name."""
    unpacked = folder / "unpacked"
    subprocess.run(["dpkg-deb", "-x", str(deb), str(unpacked)], check=True, timeout=60)
    (site,) = unpacked.glob("usr/lib/hsm-enrol/site")
    for name in ("written", "bare"):
        shutil.copytree(site, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    written = folder / "written"
    subprocess.run(["/usr/bin/python3", "-I", "-m", "compileall", "-q", str(written)], check=True, timeout=300)
    _read_only(site)
    _read_only(folder / "bare")
    return {
        name: _launcher(place, folder / f"{place.name}-enrol")
        for name, place in ((PACKAGE, site), (WRITTEN, written), (BARE, folder / "bare"))
    }


def _read_only(place: Path) -> None:
    """Make a folder what /usr is under the unit's sandbox."""
    for words in (["--bind", str(place), str(place)], ["-o", "remount,ro,bind", str(place)]):
        subprocess.run(["mount", *words], check=True, timeout=30)


def _launcher(site: Path, at: Path) -> Path:
    at.write_text(LAUNCHER.format(site=str(site)))
    at.chmod(0o755)
    return at


def measure(at: Place, launchers: Mapping[str, Path], runner: Runner, rounds: int) -> Costs:
    """Run all of them in turn: a first boot each, then a run with nothing to do."""
    found: Costs = {"enrol": {}, "nothing to do": {}}
    for number in range(rounds + 1):
        for name, launcher in launchers.items():
            argv = [str(launcher), *at.enrol()[1:]]
            at.first_boot()
            for costs in found.values():
                cost = runner.run(argv, plain_environment())
                at.check_joined()
                if number:  # the first warms caches
                    costs.setdefault(name, []).append(cost.wall)
    return found


def table(found: Costs) -> str:
    """Write medians and the promise's ratio, taken round by round."""
    lines = [f"{'wall ms, medians':24}" + "".join(f"{job:>16}" for job in found)]
    lines += [
        f"{name:24}" + "".join(f"{statistics.median(costs[name]):16.1f}" for costs in found.values())
        for name in (PACKAGE, WRITTEN, BARE)
    ]
    for job, costs in found.items():
        ratio = statistics.median(a / b for a, b in zip(costs[PACKAGE], costs[WRITTEN], strict=True))
        lines.append(f"{job}: {PACKAGE} / {WRITTEN} {ratio:.2f}, bar {BAR}: {'met' if ratio <= BAR else 'MISSED'}")
    return "\n".join(lines)


def main() -> int:
    """Run and print; `--out` writes installed.json."""
    parser = argparse.ArgumentParser(prog="installed", description=__doc__)
    parser.add_argument("--deb", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.inside:
        again = [sys.executable, "-m", "lab.bench.installed", *sys.argv[1:], "--inside"]
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", *again])
    with tempfile.TemporaryDirectory(prefix="hsm-bench-") as name:
        folder = Path(name)
        launchers = trees(args.deb, folder)
        try:
            with place(folder / "host") as at, Runner(folder / "log") as runner:
                found = measure(at, launchers, runner, args.rounds)
        finally:
            for tree in (folder / "bare", *folder.glob("unpacked/usr/lib/hsm-enrol/site")):
                subprocess.run(["umount", str(tree)], check=True, timeout=30)
    print(table(found))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "installed.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
