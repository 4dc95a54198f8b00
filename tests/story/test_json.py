"""What --json prints, command by command, in a whole world, against the schema that scripts rely on."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from hsm_enrol.errors import catalogue
from lab.world import World
from tests.documents import bare, table
from tests.json_schema import KINDS, SCHEMA, kind_of
from tests.shown import blocks

SEEN: set[str] = set()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("json")) as made:
        yield made


def told(world: World, *words: str) -> tuple[str, dict[str, object]]:
    """Run a command; give which object it printed, and the object."""
    ran = world.agent(*words, "--json")
    found: dict[str, object] = json.loads(ran.stdout)
    assert found["status"] == ran.returncode, ran.stderr
    assert found["ok"] is (ran.returncode == 0)
    kind = kind_of(found)
    SEEN.add(kind)
    return kind, found


def example() -> str:
    """Give the failure that the document shows."""
    (shown,) = (one.text for one in blocks() if (one.document, one.language) == ("docs/json.md", "json"))
    return shown


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert [bare(row["object"]) for row in table("docs/json.md", "JSON for scripts", "object")] == list(KINDS)


def test_every_transcript_of_a_fault_fits() -> None:
    folder = Path(__file__).parent.parent / "transcripts"
    for kind in catalogue():
        assert kind_of(json.loads((folder / f"{kind.reason}.json").read_text())) == "failure"
    assert example() + "\n" == (folder / "refused.json").read_text()


def test_every_command_prints_what_the_schema_says(world: World) -> None:
    assert told(world, "status")[0] == "status"  # not enrolled
    assert told(world, "enrol", "--plan")[0] == "plan"
    assert told(world, "assertion")[0] == "assertion"
    assert told(world, "check")[0] == "check"
    kind, joined = told(world, "enrol")
    assert (kind, joined["outcome"]) == ("outcome", "joined")
    assert told(world, "enrol")[1]["outcome"] == "nothing"
    assert told(world, "refresh")[1]["outcome"] == "current"
    kind, status = told(world, "status")
    assert (kind, status["alive"], status["serial"]) == ("status", joined["members"], joined["serial"])
    assert told(world, "status", "--offline")[1]["alive"] is None
    assert told(world, "explain", "already_enrolled")[0] == "explain"
    kind, failure = told(world, "re-enrol")
    assert (kind, failure["reason"]) == ("failure", "already_enrolled")
    shown = json.loads(example())
    assert [(name, type(value)) for name, value in failure.items()] == [(name, type(shown[name])) for name in shown]
    line = next(one for one in reversed(world.party.audit()) if one["event"] == "enrolment")
    assert line["decision"] == failure["decision"]
    assert told(world, "generalize")[1]["group"] == joined["group"]
    assert told(world, "leave") == ("left", {"schema": 1, "ok": True, "status": 0, "outcome": "left", "group": None})
    refused_and_held(world)
    assert set(KINDS) == SEEN


def refused_and_held(world: World) -> None:
    """A boot that was refused a while ago, and a refresh while another instance tries the PIN."""
    assert told(world, "enrol", "--reason", "boot")[1]["reason"] == "already_enrolled"
    kind, quiet = told(world, "enrol", "--reason", "boot")
    assert (kind, quiet["status"], quiet["reason"]) == ("quiet", 77, "already_enrolled")
    shutil.rmtree(world.root / "run/hsm-enrol")
    world.imds.machine = world.machine = world.aws.launch()
    world.party.publish(world.bundle(partition_pin={"id": "pin-00000002", "value": "another"}))
    assert told(world, "enrol")[1]["reason"] == "pin_refused"
    world.write_settings(deadline="2s")
    assert told(world, "refresh")[0] == "held"
