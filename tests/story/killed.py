"""Runs a played host's installation in a process of its own and kills it (SIGKILL) at a place in the agent's code."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab.party import environment
from tests.played_host import PlayedHost

HERE = Path(__file__)


def killed(host: PlayedHost, when: str, place: str, *, nth: int = 1, act: str = "take", serial: int = 1) -> bool:
    """Do `act` of the host, killed right before or after the nth call of `place` (MODULE:NAME).

    False when the place was not passed that often: then it is done, or failed by itself.
    """
    orders = host.root.parent / f"{host.root.name}-orders"
    orders.write_bytes(pickle.dumps((host.portable(), host.estate.bundle(serial=serial), act)))
    ran = subprocess.run(
        [sys.executable, str(HERE), when, place, str(nth), str(orders)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ran.returncode in {0, -9}, ran.stderr
    return ran.returncode != 0


def main() -> None:
    """Be the process."""
    from tests.story.kill_at import die_at

    when, place, nth, orders = sys.argv[1:]
    portable, bundle, act = pickle.loads(Path(orders).read_bytes())
    die_at(when, place, int(nth))
    host: Any = PlayedHost.from_portable(portable)
    {"take": lambda: host.take(bundle), "mend": host.mend, "leave": host.leave}[act]()


if __name__ == "__main__":
    main()
