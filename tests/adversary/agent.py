"""The agent's own asking and opening, with the verifying party called instead of dialled."""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsm_enrol.ask import Asker, Got, Question
from hsm_enrol.host.courier import Make
from hsm_enrol.host.imds import Identity
from hsm_enrol.host.state import owner_for
from hsm_enrol.host.voice import Voice
from hsm_enrol.settings import load
from hsm_enrol.wire.keys import public_to_pem
from tests.adversary.party import Subject

SETTINGS = """
[verifier]
urls = ["https://127.0.0.1:1"]
audience = "{audience}"
ca_file = "/etc/hsm-enrol/ca.pem"
answer_keys = ["/etc/hsm-enrol/answer-key.pem"]
[luna]
allowed_servers = ["hsm1.example", "10.0.0.0/8"]
"""
Give = Callable[[bytes], bytes]


@dataclass(frozen=True)
class CalledImds:
    """Says what was read before."""

    identity: Identity

    def fetch_identity(self) -> Identity:
        return self.identity


@dataclass(frozen=True)
class Called:
    """Hands the assertion to somebody and brings back what that one gives: the verifier, or whoever plays it."""

    subject: Subject
    give: Give
    offset: float = 0.0

    def begin(self) -> None:
        """Nothing is dialled."""

    def ask(self, make: Make) -> bytes:
        return self.give(make(self.subject.party.challenge(), time.time()).compact)


def agent(subject: Subject, root: Path, give: Give) -> Asker:
    """Give the agent of an instance, its files below `root`; `give` answers the assertion."""
    etc = root / "etc/hsm-enrol"
    for folder in (etc, root / "run/hsm-enrol", root / "var/lib"):
        folder.mkdir(parents=True, exist_ok=True)
    (etc / "answer-key.pem").write_bytes(public_to_pem(subject.party.answer_keys[0]))
    (etc / "hsm-enrol.toml").write_text(SETTINGS.format(audience=subject.party.audience))
    imds: Any = CalledImds(subject.identity)
    courier: Any = Called(subject, give)
    return Asker(
        settings=load(str(etc / "hsm-enrol.toml"), str(root)),
        imds=imds,
        courier=courier,
        owner=owner_for(subject.id, str(root)),
        voice=Voice(stream=io.StringIO()),
    )


def asks(subject: Subject, root: Path, give: Give, *, newest: int | None = None) -> Got:
    """Let the agent ask once and open what it gets (A1 to A7)."""
    return agent(subject, root, give).ask(Question(reason="boot", have=None, pin=False), newest=newest)
