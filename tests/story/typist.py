"""Knows how an operator types what the documents show, in a world: on the instance or at the verifier."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

from lab.world import World
from tests.shown import FIRST

COLUMNS, LONG_WORD = 80, 50
INSTANCE = "i-0a1b2c3d4e5f60718"  # in the documents; here it is whichever instance the world has


class Operator:
    """Types commands where they belong; `substituted` is what the documents' names stand for here."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.inits = 0

    def opens(self, document: str) -> None:
        """Give a reader who begins here what the first two documents lead to: a member, whatever became of the last."""
        if document not in FIRST:
            self.world.imds.machine = self.world.machine = self.world.aws.launch()
            self.types("hsm-enrol enrol")

    def types(self, line: str) -> str:
        first, *filters = [part.split("\0") for part in "\0".join(shlex.split(line)).split("\0|\0")]
        told = self.ran(line, first, at_a_terminal=not filters)
        for words in filters:
            assert words[0] == "jq", f"{line}: list it in NOT_RUN"
            told = subprocess.run(words, input=told, capture_output=True, text=True, check=True, timeout=30).stdout
        return told

    def ran(self, line: str, words: list[str], *, at_a_terminal: bool) -> str:
        if words[:4] == ["runuser", "-u", "hsm-verifier", "--"]:
            words = words[4:]
        program, *words = [self.substituted(word) for word in words]
        if program == "hsm-enrol":
            ran = self.world.agent(*words)
            assert ran.returncode == 0, f"{line}: {ran.stderr}{ran.stdout}"
            if "--json" not in words:
                assert not too_wide(ran.stdout), line
            if words == ["generalize"]:  # what is started from the image is another instance
                self.world.imds.machine = self.world.machine = self.world.aws.launch()
            return ran.stdout
        assert program == "hsm-verifier", f"{line}: list it in NOT_RUN"
        if words[0] == "init":
            self.inits += 1
            return self.world.party.command("init", f"{words[1]}-{self.inits}", *words[2:], config=False)
        if "--config" in words:
            at = words.index("--config")
            del words[at : at + 2]
        told = self.world.party.command(*words, at_a_terminal=at_a_terminal)
        if "--json" not in words and at_a_terminal:
            assert not too_wide(told), line
        return self.world.party.noted + told

    def substituted(self, word: str) -> str:
        if word == "bundle.json":
            return self.written(word, json.dumps(self.world.bundle()))
        if word in {"hsm1.example=hsm1.pem", "hsm2.example=hsm2.pem"}:
            server = self.world.bundle()["servers"][int(word[3]) - 1]
            return f"{server['address']}:{server['port']}=" + self.written(word[-8:], server["certificate"])
        if word == "pin":
            return self.written(word, "Kuchen-8")
        if word in {"156908040", "156908041"}:
            return str(self.world.bundle()["ha"]["members"][int(word) - 156908040])
        if word == "web.pem":
            return self.written(word, self.world.estate.renew_client().certificate)
        if word == "webKey.pem":
            return self.written(word, self.world.estate.client.key)
        if word == "/var/lib/hsm-verifier":
            return str(self.folder / "verifier")
        return self.world.machine.instance_id if word == INSTANCE else word

    def written(self, name: str, text: str) -> str:
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.touch(0o600)
        path.write_text(text)
        return str(path)


def too_wide(text: str) -> list[str]:
    """Give the lines that 80 columns do not hold, but for those of which one word, a path or a digest, is the cause."""
    return [line for line in text.splitlines() if len(line) > COLUMNS and len(max(line.split(), key=len)) < LONG_WORD]
