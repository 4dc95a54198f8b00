"""Knows how to run the rehearsal: what it needs, the image, the journeys beside each other, the table.

Everything that touches mounts, addresses and machines happens in children that have a network, a mount and a process
namespace of their own: when such a child ends, however it ends, the kernel takes all of it down.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

from lab.rehearsal import image
from lab.rehearsal.journeys import ALONE, LISTS, Journey
from lab.rehearsal.machine import NotSeen
from lab.rehearsal.report import Row, conclude
from lab.rehearsal.site import Site, make_addresses

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build/rehearsal"
LIMIT = 480.0  # seconds for all journeys
UNSHARE = ("unshare", "--net", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc")
NEEDS = (
    "mmdebstrap=mmdebstrap",
    "systemd-nspawn=systemd-container",
    "journalctl=systemd",
    "ip=iproute2",
    "nsenter=util-linux",
    "setpriv=util-linux",
    "unshare=util-linux",
    "mount=mount",
    "dpkg-deb=dpkg",
    "gcc=gcc",
    "chrt=util-linux",
)


def main() -> int:
    """Run the words of the command line."""
    parser = argparse.ArgumentParser(prog="python -m lab.rehearsal")
    parser.add_argument("--only", metavar="NAME", action="append", help="journeys to play; default all")
    parser.add_argument("--package", type=Path, metavar="DEB", help="this package; default: build it")
    parser.add_argument("--write", action="store_true", help="write the table of all journeys into docs/operating.md")
    parser.add_argument("--inside", nargs=3, metavar=("LIST", "BASE", "LAYER"), help=argparse.SUPPRESS)
    parser.add_argument("--layer", nargs=2, metavar=("BASE", "PACKAGE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        return inside(args.inside[0], Path(args.inside[1]), Path(args.inside[2]), args.only)
    if args.layer:
        image.install(Path(args.layer[0]), Path(args.layer[1]), WORK / "layer")
        return 0
    if args.write and args.only:
        parser.error("--write wants all journeys: a table of some would replace that of all")
    return outside(args.only, args.package, write=args.write)


def outside(only: list[str] | None, package: Path | None, *, write: bool) -> int:
    """Prepare with the network we are in, then play in namespaces of their own. 0, 1 not as told, 2 cannot be run."""
    if missing := what_is_missing():
        for line in missing:
            print(f"rehearsal: {line}", file=sys.stderr)
        return 2
    begin = time.monotonic()
    if package is None:
        subprocess.run([ROOT / "packaging/deb/build.sh", "agent"], check=True, timeout=300)
        package = max((ROOT / "dist").glob("hsm-enrol_*.deb"), key=lambda path: path.stat().st_mtime)
    debian = image.base(ROOT / "build/rehearsal-image")
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    newer_package(package, WORK / "newer.deb")
    compile_clock(WORK / "clock.so")
    if only is None or "verifier_unit" in only:
        subprocess.run([ROOT / "packaging/deb/build.sh", "--light", "verifier"], check=True, timeout=300)
        shutil.copy(ROOT / "build/deb/verifier-light.deb", WORK / "verifier.deb")
    child(("--layer", str(debian), str(package)), timeout=120)
    print(f"rehearsal: packages and image ready after {time.monotonic() - begin:.0f} s", flush=True)
    rows = [row for lists in (LISTS, ALONE) for row in play(lists, debian, only)]
    return conclude(rows, time.monotonic() - begin, write=write)


def what_is_missing() -> list[str]:
    """Give a line for each thing that this machine lacks; installs what apt can bring."""
    if os.geteuid():
        return ["needs root: namespaces, mounts and systemd-nspawn are not for ordinary users"]
    if subprocess.run([ROOT / "packaging/dev/needs.sh", *NEEDS], check=False, timeout=300).returncode:
        return ["the commands above are missing"]
    WORK.parent.mkdir(exist_ok=True)
    trial = "mkdir l u w m && mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m && ip link set lo up"
    folder = WORK.parent / "trial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    done = subprocess.run(
        [*UNSHARE, "sh", "-ec", trial], cwd=folder, capture_output=True, text=True, check=False, timeout=20
    )
    shutil.rmtree(folder, ignore_errors=True)
    if done.returncode:
        return [f"no namespaces or no overlay mounts here: {done.stderr.strip()}"]
    return []


def newer_package(package: Path, newer: Path) -> None:
    """Make the package that is upgraded to: the same one under a higher version."""
    tree = WORK / "newer"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True, timeout=60)
    control = tree / "DEBIAN/control"
    version = re.search(r"(?m)^Version: (\S+)$", control.read_text())
    if version is None:
        raise LookupError("no version in the package")
    control.write_text(control.read_text().replace(f"Version: {version[1]}", f"Version: {version[1]}.1"))
    # In the source only; the byte code beside it is removed, so that the source counts.
    module = tree / "usr/lib/hsm-enrol/site/hsm_enrol"
    text = (module / "__init__.py").read_text()
    (module / "__init__.py").write_text(text.replace(f'"{version[1]}"', f'"{version[1]}.1"'))
    for compiled in (module / "__pycache__").glob("__init__.*"):
        compiled.unlink()
    command = ["dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build"]
    subprocess.run([*command, tree, newer], check=True, timeout=120, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)


def compile_clock(library: Path) -> None:
    """Compile what shows a unit a wrong clock."""
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-o"]
    subprocess.run([*command, library, Path(__file__).with_name("clock.c"), "-ldl"], check=True, timeout=60)


def child(words: tuple[str, ...], timeout: float) -> None:
    """Run ourselves in namespaces of our own, to the end."""
    subprocess.run([*UNSHARE, sys.executable, "-m", "lab.rehearsal", *words], check=True, timeout=timeout, cwd=ROOT)


def play(lists: dict[str, tuple[Journey, ...]], debian: Path, only: list[str] | None) -> list[Row]:
    """Play lists beside each other; gives a row for each journey, in the lists' order."""
    running = []
    for name, journeys in lists.items():
        if only is None or {one.__name__ for one in journeys} & set(only):
            words = ["--inside", name, str(debian), str(WORK / "layer/upper")]
            words += [word for one in only or () for word in ("--only", one)]
            command = [*UNSHARE, sys.executable, "-m", "lab.rehearsal", *words]
            running.append((name, subprocess.Popen(command, cwd=ROOT)))
    end = time.monotonic() + LIMIT
    rows: list[Row] = []
    try:
        for name, process in running:
            process.wait(max(1.0, end - time.monotonic()))
            file = WORK / name / "rows.jsonl"
            rows += [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
            if process.returncode:
                rows.append({"journey": f"list {name}", "ok": False, "seen": f"ended with {process.returncode}"})
    except subprocess.TimeoutExpired:
        rows.append({"journey": "all", "ok": False, "seen": f"not done within {LIMIT:.0f} s"})
    finally:
        for _, process in running:
            process.kill()
            process.wait()
    return rows


def inside(name: str, debian: Path, layer: Path, only: list[str] | None) -> int:
    """Play one list in the namespaces we are in; a journey that fails does not keep the next from being played."""
    make_addresses()
    folder = WORK / name
    folder.mkdir()
    with Site(folder, (layer, debian)) as site, (folder / "rows.jsonl").open("w") as rows:
        for journey in (LISTS | ALONE)[name]:
            if only is not None and journey.__name__ not in only:
                continue
            begin = time.monotonic()
            row: Row = {"journey": journey.__name__.replace("_", " "), "story": journey.__doc__}
            try:
                row |= {"ok": True, "seen": journey(site)}
            except NotSeen as fault:
                row |= {"ok": False, "seen": str(fault)}
            except Exception as fault:  # noqa: BLE001  the others are still to be played
                row |= {"ok": False, "seen": f"{type(fault).__name__}: {fault}"}
                traceback.print_exc()
            row["seconds"] = round(time.monotonic() - begin, 1)
            rows.write(json.dumps(row) + "\n")
            rows.flush()
            print(f"rehearsal: {'ok  ' if row['ok'] else 'FAIL'} {row['journey']}: {row['seen']}", flush=True)
            site.tidy()
    return 0


if __name__ == "__main__":
    sys.exit(main())
