"""A verifier that may die at any edge of its ledger and is started again, as systemd would."""

import contextlib
import os
import signal
import threading
from pathlib import Path

from hsm_verifier.chain import verify
from hsm_verifier.ledger import desk
from hsm_verifier.ledger.store import Store
from hsm_verifier.settings import load_settings
from tests.adversary.failpoints import edge_name
from tests.adversary.party import pause
from tests.adversary.relay import Relay
from tests.adversary.site import OWN_SECRET
from tests.adversary.zygote import Zygote

PRELOAD = ("hsm_verifier.__main__", "hsm_verifier.server", "tests.adversary.failpoints", "tests.adversary.warm")


class Crashing:
    """Runs the verifier of a settings file as a child of a zygote, behind a relay."""

    def __init__(self, config: Path, zygote: Zygote) -> None:
        """Serve. Beside the settings file are made a log and the folder of armed edges."""
        self.config, self.zygote = config, zygote
        self.folder = config.parent
        self.edges, self.log = self.folder / "edges", self.folder / "crashing.log"
        self.edges.mkdir()
        self.deaths = 0
        self._ending = False
        self._status: int | None = None
        self.url = f"https://127.0.0.1:{zygote.port}"
        self.relay = Relay(self.folder, zygote.port)
        self._pid = self._start()
        self._watch = threading.Thread(target=self._keep_alive, name="supervisor", daemon=True)
        self._watch.start()

    def _start(self) -> int:
        return self.zygote.run(
            "hsm_verifier.__main__:main",
            ["serve", "--config", str(self.config)],
            log=self.log,
            before=f"tests.adversary.failpoints:arm={self.edges}",
            AWS_ACCESS_KEY_ID="AKIATEST",
            AWS_SECRET_ACCESS_KEY=OWN_SECRET,
        )

    def arm(self, message: str, step: str) -> None:
        """Let the verifier die the next time it comes to this edge."""
        if step:
            (self.edges / edge_name(message, step)).touch()

    def _keep_alive(self) -> None:
        """Start it again whenever it was killed, until `end`; nobody else speaks with the zygote."""
        while True:
            status = self.zygote.wait(self._pid, 3600)
            if self._ending or status != -signal.SIGKILL:
                self._status = status
                return
            self.deaths += 1
            self._pid = self._start()

    def end(self) -> None:
        """Stop in peace."""
        self._ending = True
        with contextlib.suppress(ProcessLookupError):  # it ended by itself: the log says why
            os.kill(self._pid, signal.SIGTERM)
        self._watch.join(30)
        assert self._status == 0, self.log.read_text()[-3000:]

    def disarm(self) -> None:
        """Forget edges that were never come to, because the message before them was lost, and plans likewise."""
        for left in self.edges.iterdir():
            left.unlink()
        self.relay.plan.clear()

    def settle(self) -> None:
        """Wait until a death that was on its way has happened: one whole restart later nothing is armed any more."""
        deaths = self.deaths
        os.kill(self._pid, signal.SIGKILL)
        while self.deaths == deaths:
            pause(0.01)

    def slots(self) -> dict[tuple[str, int], tuple[str, str]]:
        """Give owner and state of every slot, by instance and serial."""
        store = Store(load_settings(self.config).state.ledger)
        try:
            return {(line.instance_id, line.serial): (line.owner, line.state) for line in desk.list_slots(store)}
        finally:
            store.close()

    def audit_holds(self) -> int:
        """Insist that the audit's chain is whole; give how many lines it has."""
        return verify(self.folder / "audit.jsonl").n
