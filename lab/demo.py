"""Knows how to show the main job once: an instance just booted, then member of the HA slot, and what is refused."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lab.attack import replay_fields
from lab.world import World

HERE = Path(".lab")


class Clock:
    """Prints lines with the seconds since the demo began."""

    def __init__(self) -> None:
        """Begin now."""
        self._begin = time.monotonic()

    def say(self, text: str) -> None:
        """Print one line."""
        print(f"{time.monotonic() - self._begin:6.2f} s  {text}", flush=True)

    def head(self, text: str) -> None:
        """Print what comes next."""
        print(f"\n{text}\n{'-' * len(text)}", flush=True)


def main() -> int:
    """Run the demo in a folder of its own below .lab, which is gone afterwards; 0 when all went as told."""
    HERE.mkdir(exist_ok=True)
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="demo-", dir=HERE) as folder:
        clock.head("The world: AWS, IMDS, a verifier, two appliances, all on loopback")
        world = World(Path(folder).absolute())
        with world:
            clock.say(f"verifier at {world.party.url}, bundle serial {world.serial}")
            clock.say(f"instance {world.machine.instance_id} has just booted; its Luna client knows no appliance")
            return show(world, clock)


def show(world: World, clock: Clock) -> int:
    """Tell the story; each part checks what it claims."""
    fine = [
        told("The instance enrols", clock, lambda: first_run(world, clock)),
        told("What the client shows now", clock, lambda: group_table(world)),
        told("What landed on the disk", clock, lambda: on_disk(world)),
        told("The agent runs again: nothing changes", clock, lambda: second_run(world, clock)),
        told("A second machine sends the first one's fields", clock, lambda: attack(world, clock)),
    ]
    clock.head("Result")
    clock.say("as promised" if all(fine) else "NOT as promised; see above")
    return 0 if all(fine) else 1


def told(title: str, clock: Clock, part: Callable[[], bool]) -> bool:
    """Print a title, then the part."""
    clock.head(title)
    return part()


def first_run(world: World, clock: Clock) -> bool:
    """Run `hsm-enrol enrol`, each of its lines with its time."""
    process = world.begin_agent("enrol", "--reason", "boot")
    assert process.stderr is not None
    for line in process.stderr:
        clock.say(line.rstrip().removeprefix("hsm-enrol: "))
    return process.wait(120) == 0


def group_table(world: World) -> bool:
    """Print `vtl haAdmin show` as the client has it."""
    shown = world.show()
    print(shown.strip())
    return shown.count("alive") == len(world.estate.members)


def on_disk(world: World) -> bool:
    """List the files that the run made or changed, with their modes; never what is in them."""
    found = {name: mode for name, (mode, _) in world.files().items() if "bin/" not in name}
    for name, mode in found.items():
        print(f"  {mode:04o}  /{name}")
    keys = [mode for name, mode in found.items() if name.endswith(("Key.pem", "owner.key"))]
    return bool(keys) and all(not mode & 0o007 for mode in keys)


def second_run(world: World, clock: Clock) -> bool:
    """Run it again: the same bytes everywhere, and the verifier heard nothing."""
    before, lines = world.files(), len(world.party.audit())
    ran = world.agent("enrol", "--reason", "boot")
    clock.say(ran.stderr.strip().removeprefix("hsm-enrol: "))
    same = world.files() == before and len(world.party.audit()) == lines
    clock.say("no byte differs, the verifier was not asked" if same else "SOMETHING CHANGED")
    return same and ran.returncode == 0


def attack(world: World, clock: Clock) -> bool:
    """Let an insider claim to be the first instance, with every field right and the live credentials of another."""
    other = world.aws.launch()
    clock.say(f"{other.instance_id} claims to be {world.machine.instance_id}")
    heard = replay_fields(world.machine, other, world.party)
    clock.say(f"refused: {heard.status} {heard.reason}, decision {heard.decision}")
    clock.say(f"the operator's audit says why: {heard.detail}")
    return heard.status == 403
