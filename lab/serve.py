"""Knows how to keep a world running for somebody to try the agent by hand: addresses in .lab/lab.json, until Ctrl-C."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from lab.world import World

HERE = Path(".lab")


def main() -> int:
    """Serve until SIGINT or SIGTERM; the folder and lab.json are gone afterwards."""
    # Not blocked and waited for: the verifier's process would inherit that, and never hear its own SIGTERM.
    told_to_stop, tell = os.pipe()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: os.write(tell, b"."))
    folder, told = (HERE / "world").absolute(), HERE / "lab.json"
    HERE.mkdir(exist_ok=True)
    here = os.open(HERE, os.O_RDONLY)
    try:
        fcntl.flock(here, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a second one would take the first one's folder away
    except BlockingIOError:
        print(f"make lab is at work here already: {told}", file=sys.stderr)
        return 1
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    try:
        with World(folder, named=False) as world:
            members = describe(world)
            told.write_text(json.dumps(members, indent=2) + "\n")
            print("\n".join(f"{name:12} {value}" for name, value in members.items()))
            print("\ntry:  .venv/bin/hsm-enrol --config", world.config, "\\\n        --root", world.root, "enrol -v")
            print("Ctrl-C ends it", flush=True)
            os.read(told_to_stop, 1)
    finally:
        told.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def describe(world: World) -> dict[str, str]:
    """Give what somebody needs who runs the agent, or another party, against this world."""
    return {
        "imds": world.imds.endpoint,
        "verifier": world.party.url,
        "config": str(world.config),
        "root": str(world.root),
        "audience": world.party.audience,
        "ca_file": str(world.party.folder / "verifier-ca.pem"),
        "answer_key": str(world.party.folder / "answer-key.pem"),
        "verifier_config": str(world.party.config),
        "instance": world.machine.instance_id,
    }
