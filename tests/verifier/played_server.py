"""Runs the real server in a process of its own, with AWS and the policy played: `played_server.py DIR`."""

import logging
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hsm_verifier.answer_keys import AnswerKeys
from hsm_verifier.aside import Aside, Threads
from hsm_verifier.audit import Audit
from hsm_verifier.cli.common import nonce_key_of, open_store, open_vault
from hsm_verifier.ledger.clerk import open_clerk
from hsm_verifier.limits import Buckets
from hsm_verifier.nonce import Nonces
from hsm_verifier.scribe import Scribe
from hsm_verifier.server import serve, tls_context
from hsm_verifier.service import Service
from hsm_verifier.settings import load_settings, parse_listen
from hsm_verifier.sockets import listening_sockets
from hsm_verifier.world import World
from tests.verifier.party import PlayedAws, PlayedPolicy


class SlowAws(PlayedAws):
    """STS that waits for a file to appear, so that a test can stop the server while a request is under way."""

    def __init__(self, gate: Path, aside: Aside) -> None:
        super().__init__()
        self._gate, self._aside = gate, aside

    def ask(self, assertion: object) -> object:
        self._aside(self._wait)
        return assertion

    def _wait(self) -> None:
        (self._gate.parent / "asked").touch()
        while self._gate.parent.joinpath("slow").exists() and not self._gate.exists():
            time.sleep(0.02)


def main(words: list[str], at_end: Callable[[], None] = lambda: None) -> int:
    """Serve from the folder that is named; `at_end` is called while all is still there."""
    folder = Path(words[0])
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    settings = load_settings(folder / "hsm-verifier.toml")
    asking = Threads(8, "ask")
    store, aws = open_store(settings), SlowAws(folder / "go", asking)
    world = World(
        audience=settings.audience,
        policy=PlayedPolicy(),
        store=store,
        clerk=open_clerk(store, asking),
        vault=open_vault(settings),
        nonces=Nonces(nonce_key_of(settings), settings.audience),
        keys=AnswerKeys.load(settings.state.answer_keys),
        sts=aws,
        inventory=aws,
        documents=aws,
        asks=Buckets(100, 100, time.monotonic),
        clock=time.time,
        rng=random.Random(1),
    )
    audit = Audit(Path(settings.state.audit))
    sockets = listening_sockets(*parse_listen(settings.server.listen))
    scribe = Scribe(audit)
    serve(Service(world, scribe), settings.server, tls_context(settings.server), sockets, at_end=at_end)
    for one in (asking, world.clerk, scribe):
        one.close()
    audit.write("stop", time.time())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
