"""Every command that README and docs/operating.md show is run, in the order in which a reader comes upon it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.world import World
from tests.documents import ROOT, bare, table, text_of

DOCUMENTS = ("README.md", "docs/operating.md")
# What cannot be run here: why, and the test or target that shows it.
NOT_RUN = {
    "apt-get install ./hsm-enrol-verifier.deb": "installs on this machine: test_what_ships_is_what_was_tested",
    "$EDITOR policy.toml": "a person's work: test_v10_v12_a_rule_admits_or_names_what_differs",
    "$EDITOR /var/lib/hsm-verifier/policy.toml": "a person's work: test_v10_v12_a_rule_admits_or_names_what_differs",
    "systemctl start hsm-verifier": "there is no systemd here: test_systemd_finds_nothing_to_say_about_our_units",
    "systemctl enable --now hsm-verifier.socket hsm-verifier.service": (
        "there is no systemd here: test_systemd_finds_nothing_to_say_about_our_units"
    ),
    "hsm-verifier aws-certs import ec2-guide.html": (
        "wants a page of AWS's: test_aws_certs_are_pinned_once_and_replaced_only_on_demand"
    ),
}
INSTANCE = "i-0a1b2c3d4e5f60718"  # in the documents; here it is whichever instance the world has


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("documents"), named=False) as made:
        yield made


def blocks(name: str) -> list[tuple[str, list[str]]]:
    """Give the fenced blocks of a document: language and lines; `sh` continued lines are joined."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", text_of(name), re.MULTILINE | re.DOTALL)
    return [(language, text.replace("\\\n", " ").splitlines()) for language, text in found]


def shown_commands() -> list[str]:
    return [line for name in DOCUMENTS for language, lines in blocks(name) if language == "sh" for line in lines]


class Operator:
    """Types commands where they belong; `substituted` is what the documents' names stand for here."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.inits = 0

    def types(self, line: str) -> str:
        words = shlex.split(line)
        if words[:4] == ["runuser", "-u", "hsm-verifier", "--"]:
            words = words[4:]
        program, *words = [self.substituted(word) for word in words]
        if program == "hsm-enrol":
            ran = self.world.agent(*words)
            assert ran.returncode == 0, f"{line}: {ran.stderr}{ran.stdout}"
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
        return self.world.party.command(*words)

    def substituted(self, word: str) -> str:
        if word == "bundle.json":
            return self.written(word, json.dumps(self.world.bundle()))
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


def shape(text: str) -> list[str]:
    """What stays of an output from one run to the next."""
    return [re.sub(r"\d+", "N", re.sub(r"i-[0-9a-f]{17}", "I", line)) for line in text.splitlines()]


def test_every_command_shown_works_in_the_order_of_the_documents(world: World, tmp_path: Path) -> None:
    operator, run, compared = Operator(world, tmp_path), 0, 0
    for name in DOCUMENTS:
        told = ""
        for language, lines in blocks(name):
            if language == "sh":
                for line in lines:
                    if line not in NOT_RUN:
                        told, run = operator.types(line), run + 1
            elif language == "text":
                assert shape("\n".join(lines)) == shape(told), f"{name}: the output shown"
                compared += 1
    assert compared
    print(f"{run} commands run, {len(NOT_RUN)} listed as shown by other tests, {compared} outputs compared")


def test_what_is_not_run_is_shown_and_has_a_test() -> None:
    assert set(NOT_RUN) <= set(shown_commands())
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for line, why in NOT_RUN.items():
        assert f"def {why.split(': ')[1]}(" in sources, line


def test_each_known_trouble_is_found_by_what_the_table_says() -> None:
    rows = table("docs/operating.md", "What finds a known trouble", "trouble", "test")
    assert [row["trouble"].split(" ")[0] for row in rows] == [f"P{number}" for number in range(1, 23)]
    sources = {path: path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    for row in rows:
        test = bare(row["test"])
        if not test:
            assert row["found by"].startswith("not findable"), row
            continue
        where = [path for path, text in sources.items() if f"def {test}(" in text]
        assert len(where) == 1, test
        if row["found by"].startswith("`check`"):
            assert where[0].name == "test_check.py", row
