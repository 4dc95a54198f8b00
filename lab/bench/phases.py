"""Knows where the time of one enrolment goes: interpreter, imports, IMDS, verifier, cryptography, files, tools, rest.

`python -m lab.bench.phases` runs the agent under a launcher that times what belongs to a phase, each moment counted
once (an import within an exchange is an import), of the main thread only: what another does meanwhile counts where it
is waited for. Medians of many runs; the launcher itself costs about a millisecond.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import charts
from lab.bench.contestants import plain_environment
from lab.bench.place import Place, launcher_text, place

LAUNCHER = """#!{python} -IBS
import os, sys, time

BEGAN = time.monotonic()
import _thread, builtins, json

MAIN = _thread.get_ident()
TIMED = {timed!r}
spent, stack = {{}}, [["rest", BEGAN]]


def enter(phase):
    now = time.monotonic()
    top = stack[-1]
    spent[top[0]] = spent.get(top[0], 0.0) + now - top[1]
    stack.append([phase, now])


def leave():
    now = time.monotonic()
    phase, since = stack.pop()
    spent[phase] = spent.get(phase, 0.0) + now - since
    stack[-1][1] = now


def timed(phase, function):
    def run(*args, **keywords):
        if _thread.get_ident() != MAIN:
            return function(*args, **keywords)
        enter(phase)
        try:
            return function(*args, **keywords)
        finally:
            leave()
    return run


plain_import = builtins.__import__


def importing(name, globals=None, locals=None, fromlist=(), level=0):
    if _thread.get_ident() != MAIN:
        return plain_import(name, globals, locals, fromlist, level)
    enter("imports")
    try:
        found = plain_import(name, globals, locals, fromlist, level)
        for module in [one for one in TIMED if one in sys.modules and hasattr(sys.modules[one], "__ready__") is False]:
            wrap(module)
        return found
    finally:
        leave()


def wrap(name):
    module = sys.modules[name]
    if getattr(module.__spec__, "_initializing", False):
        return
    module.__ready__ = True
    for place, phase in TIMED[name].items():
        owner, _, attribute = place.rpartition(".")
        holder = getattr(module, owner) if owner else module
        original = holder.__dict__[attribute]
        if isinstance(original, classmethod):
            setattr(holder, attribute, classmethod(timed(phase, original.__func__)))
        else:
            setattr(holder, attribute, timed(phase, original))


builtins.__import__ = importing
sys.path += [{agent!r}, {site!r}]
from hsm_enrol.__main__ import main

status = main()
now = time.monotonic()
spent["rest"] = spent.get("rest", 0.0) + now - stack[0][1]
with open(os.environ["PHASES"], "w") as file:
    json.dump({{"began": BEGAN, "ended": now, "spent": spent}}, file)
sys.exit(status)
"""
TIMED = {
    "hsm_enrol.host.metadata": {"Metadata.fetch": "IMDS", "Metadata.close": "IMDS"},
    "hsm_enrol.host.courier": {"Courier._begun": "verifier, TLS"},
    "hsm_enrol.host.exchange": {"Line.exchange": "verifier, TLS", "Line.close": "verifier, TLS"},
    "hsm_enrol.wire.assertion": {"sign_assertion": "cryptography"},
    "hsm_enrol.wire.answer": {"verify_answer": "cryptography", "open_answer": "cryptography"},
    "hsm_enrol.wire.seal": {"SealPrivateKey.generate": "cryptography"},
    "hsm_enrol.wire.receipt": {"sign_receipt": "cryptography"},
    "hsm_enrol.wire.bundle": {"check_bundle": "cryptography"},
    "hsm_enrol.host.tools": {"run_tool": "tools"},
    "hsm_enrol.host.files": {
        "put_file": "files",
        "read_file": "files",
        "drop_file": "files",
        "make_temp": "files",
        "fsync_file": "files",
        "fsync_folder": "files",
        "set_mode": "files",
        "make_folder": "files",
        "sweep": "files",
    },
}
ORDER = ("interpreter", "imports", "IMDS", "verifier, TLS", "cryptography", "files", "tools", "rest", "teardown")


def one_run(at: Place, launcher: Path, told: Path) -> dict[str, float]:
    """Enrol once from first boot; give milliseconds by phase."""
    at.first_boot()
    argv = [str(launcher), *at.enrol()[1:]]
    begin = time.monotonic()
    subprocess.run(argv, env=plain_environment(PHASES=str(told)), check=True, capture_output=True, timeout=120)
    end = time.monotonic()
    at.check_joined()
    found = json.loads(told.read_text())
    spent = {phase: seconds * 1e3 for phase, seconds in found["spent"].items()}
    return spent | {"interpreter": (found["began"] - begin) * 1e3, "teardown": (end - found["ended"]) * 1e3}


def main() -> int:
    """Run, print, write phases.json and phases.svg."""
    parser = argparse.ArgumentParser(prog="phases", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hsm-bench-") as name:
        folder = Path(name)
        found: dict[str, list[dict[str, float]]] = {"instant tools": [], "2 ms to IMDS, 20 ms to the verifier": []}
        with place(folder / "near") as near, place(folder / "far", far=True) as far:
            launcher = folder / "launcher"
            launcher.write_text(launcher_text(LAUNCHER, timed=TIMED))
            launcher.chmod(0o755)
            for number in range(args.rounds + 1):
                for runs, at in zip(found.values(), (near, far), strict=True):
                    spent = one_run(at, launcher, folder / "phases.json")
                    if number:  # the first warms caches
                        runs.append(spent)
    medians = {
        name: {phase: statistics.median(run.get(phase, 0.0) for run in runs) for phase in ORDER}
        for name, runs in found.items()
    }
    print(f"{'phase, ms':16}" + "".join(f"{name:>38}" for name in medians))
    for phase in ORDER:
        print(f"{phase:16}" + "".join(f"{each[phase]:38.1f}" for each in medians.values()))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "phases.json").write_text(json.dumps(medians, indent=1) + "\n")
        rows = [charts.Bar(name=name, pieces=list(each.items()), note="ms") for name, each in medians.items()]
        (args.out / "phases.svg").write_text(charts.bars("One enrolment by phase", rows, unit="median, milliseconds"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
