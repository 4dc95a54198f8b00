"""PIN and private key occur nowhere but in the files meant for them: a canary is looked for everywhere else."""

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.luna.client import Switches
from lab.world import World

PIN = "CANARY-pin-4711 ;$(x)"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, luna='tool_timeout = "2s"')
    made.estate.pin = PIN
    for partition in made.estate.partitions:
        partition.pin = PIN
    with made:
        yield made


class Watch(threading.Thread):
    """Reads argv and environment of every process on this machine again and again, until told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.seen: set[bytes] = set()
        self.rounds = 0

    def run(self) -> None:
        while not self.ended.is_set():
            self.rounds += 1
            for process in Path("/proc").iterdir():
                if process.name.isdecimal() and int(process.name) != os.getpid():
                    for name in ("cmdline", "environ"):
                        try:
                            self.seen.add((process / name).read_bytes())
                        except OSError:
                            continue
            self.ended.wait(0.003)  # a process lives ten times as long; without a rest this takes a core

    def stop(self) -> bytes:
        self.ended.set()
        self.join(10)
        return b"\n".join(self.seen)


def secrets_of(world: World) -> tuple[bytes, ...]:
    key = world.estate.client.key
    body = re.findall(r"[A-Za-z0-9+/=]{40,}", key)
    return (PIN.encode(), body[3].encode(), body[-2].encode())


def found_in(world: World, secret: bytes) -> set[str]:
    """Where a secret lies on the instance's disk."""
    return {name for name, (_, content) in world.files().items() if secret in content}


@pytest.mark.parametrize(
    ("faults", "status"),
    [
        ({}, 0),
        ({"newGroup": "echoes"}, 0),
        ({"newGroup": "asks-twice"}, 69),
        ({"newGroup": "hang-late"}, 69),
        ({"addMember": "fails"}, 69),
        ({"verify": "babble"}, 69),
    ],
    ids=["joined", "echoed", "asked-twice", "hung", "failed", "babbled"],
)
def test_no_secret_is_where_it_does_not_belong(world: World, faults: dict[str, str], status: int) -> None:
    world.client.switch(Switches(faults={name: (fault,) for name, fault in faults.items()}))
    watch = Watch()
    watch.start()
    ran = world.agent("enrol", "-v", "--json")
    more = [world.agent(*words) for words in (("status", "--json"), ("enrol", "--plan"), ("assertion",))]
    processes = watch.stop()
    assert ran.returncode == status, ran.stderr
    assert watch.rounds > 3
    assert any(b"hsm_enrol" in one for one in watch.seen)
    calls = world.client.calls()
    assert not any(call.pin_elsewhere for call in calls)
    told = "".join(one.stdout + one.stderr for one in (ran, *more)).encode()
    log = (world.party.folder / "log").read_bytes() + (world.party.folder / "audit.jsonl").read_bytes()
    for secret in secrets_of(world):
        assert secret not in processes
        assert secret not in told
        assert secret not in log
    pin, *body = secrets_of(world)
    assert found_in(world, pin) == set()
    keys = {name for name in world.files() if name.endswith("Key.pem") and "owner" not in name}
    assert len(keys) == (1 if status == 0 else 0)
    for part in body:
        assert found_in(world, part) == keys
    if status == 0:
        assert sum(call.pins for call in calls) == 2
