"""Bad input: one clear line, a hint, the documented exit status, and nothing on disk differs afterwards."""

import json
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
import requests

from hsm_enrol.host.keep import DISPLACED
from hsm_enrol.wire.messages import ANSWER_TYPE, MAX_ANSWER
from lab import pki
from lab.bad_party import BadParty, Handler, Orders, says
from lab.party import environment
from lab.world import World
from tests.nobody import closed_port

# What the agent may keep of a run that failed: its own name, and when to ask again. No refusal deletes keys (R1).
TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"
OWN = {"var/lib/hsm-enrol/owner.key", "run/hsm-enrol/refused.json"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("bad"), deadline="4s") as world:
        shutil.copytree(world.root, world.folder / "pristine", symlinks=True)
        yield world


@pytest.fixture
def world(shared: World) -> World:
    """The shared world with its instance as on the first day; the verifier knows it or not, that is not looked at."""
    shutil.rmtree(shared.root)
    shutil.copytree(shared.folder / "pristine", shared.root, symlinks=True)
    shared.client.switch()
    shared.imds.machine = shared.machine = shared.aws.launch()
    shared.party.publish(shared.bundle(partition_pin={"id": secrets.token_hex(8), "value": shared.estate.pin}))
    return shared


def refused(world: World, status: int, reason: str, *says: str, command: str = "enrol") -> str:
    """Run the agent; check status, the reason, the words, the hint, and that the disk is as it was."""
    before = world.files()
    ran = world.agent(command, "--json")
    assert ran.returncode == status, (ran.returncode, ran.stderr)
    told = json.loads(ran.stdout)
    assert (told["status"], told["reason"]) == (status, reason)
    as_its_transcript(told)
    lines = ran.stderr.splitlines()
    assert lines[-3] == f"hsm-enrol: {told['fault']}"
    assert lines[-2] == f"hsm-enrol: hint: {told['hint']}"
    assert lines[-1] == f"hsm-enrol: next: {told['next']}"
    assert "Traceback" not in ran.stderr
    for words in says:
        assert words in ran.stderr
    after = {name: found for name, found in world.files().items() if name not in OWN}
    if reason == "tool_damage":  # a tool's damage and a person's edit meanwhile look alike: it is kept aside
        after = {name: found for name, found in after.items() if DISPLACED not in name}
    assert after == before
    assert not list(world.root.rglob(".hsm-enrol.*"))
    return ran.stderr


def as_its_transcript(told: dict[str, object]) -> None:
    """A real run's JSON has the members, facts and ids of tests/transcripts, which holds one such fault."""
    golden = json.loads((TRANSCRIPTS / f"{told['reason']}.json").read_text())
    assert list(told) == list(golden)
    assert set(told["facts"]) == set(golden["facts"])  # type: ignore[call-overload]  # JSON
    for name in ("schema", "ok", "status", "message_id"):
        assert told[name] == golden[name]


def edit(world: World, old: str, new: str) -> None:
    text = world.config.read_text()
    assert old in text
    world.config.write_text(text.replace(old, new))


def test_a_misspelt_settings_key_names_its_line_and_the_nearest_key(world: World) -> None:
    edit(world, "audience =", "audiance =")
    refused(world, 78, "bad_settings", "line 3", "did you mean audience?")


def test_no_settings_at_all(world: World) -> None:
    world.config.unlink()
    refused(world, 78, "settings_missing", str(world.config))


def test_an_unreachable_verifier(world: World) -> None:
    gone = f"https://127.0.0.1:{closed_port()}"
    world.write_settings(urls=(gone,), deadline="2s")
    refused(world, 75, "verifier_unreachable", gone)


def test_another_authority(world: World) -> None:
    (world.config.parent / "verifier-ca.pem").write_text(pki.authority("somebody else").certificate_pem)
    refused(world, 75, "verifier_untrusted", "verifier-ca.pem")


def test_no_answer_key(world: World) -> None:
    (world.config.parent / "answer-key.pem").unlink()
    refused(world, 78, "settings_missing", "answer-key.pem", "copy the verifier's answer-key.pem there")


def test_an_answer_key_of_another_verifier(world: World) -> None:
    other = pki.ec_key().public_key()
    from hsm_enrol.wire.keys import public_to_pem

    (world.config.parent / "answer-key.pem").write_bytes(public_to_pem(other))
    refused(world, 77, "refused", "unsupported")


Between = Callable[[bytes], bytes]


def forwarded(world: World, change: Between) -> Callable[[Handler], None]:
    """Pass a request on to the true verifier, and its reply back, changed."""

    def play(to: Handler) -> None:
        session = requests.Session()
        session.trust_env, session.verify = False, str(world.party.folder / "verifier-ca.pem")
        if to.command == "GET":
            reply = session.get(world.party.url + to.path, timeout=20)
        else:
            headers = {"Content-Type": to.headers["Content-Type"]}
            body = to.server.seen[-1][1]
            reply = session.post(world.party.url + to.path, data=body, headers=headers, timeout=20)
        to.answer(HTTPStatus(reply.status_code), change(reply.content), {"Content-Type": reply.headers["Content-Type"]})

    return play


@pytest.fixture
def between(world: World, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Put a party of ours between agent and verifier, which holds a certificate that the agent trusts."""
    started: list[BadParty] = []

    def put(**orders: object) -> None:
        authority = pki.authority("in between")
        party = BadParty(tmp_path, pki.server(authority, ["127.0.0.1"]), Orders(**orders))  # type: ignore[arg-type]
        started.append(party.__enter__())
        world.write_settings(urls=(party.url,))
        (world.config.parent / "verifier-ca.pem").write_text(authority.certificate_pem)

    yield put
    for one in started:
        one.stop()


def flip(at: float) -> Between:
    """Change one character of a compact JWS, at a part of its length, for another of the alphabet."""

    def change(body: bytes) -> bytes:
        place = int(len(body) * at)
        return body[:place] + (b"A" if body[place : place + 1] != b"A" else b"B") + body[place + 1 :]

    return change


@pytest.mark.parametrize("at", [0.01, 0.5, 0.995], ids=["header", "sealed", "signature"])
def test_a_tampered_answer(world: World, between: Callable[..., None], at: float) -> None:
    between(challenge=[forwarded(world, bytes)], enrolments=[forwarded(world, flip(at))])
    refused(world, 76, "answer_rejected", "not acceptable")


def test_an_oversize_answer(world: World, between: Callable[..., None]) -> None:
    between(challenge=[forwarded(world, bytes)], enrolments=[says(200, ANSWER_TYPE, b"a" * (MAX_ANSWER + 1))])
    refused(world, 76, "answer_too_large", str(MAX_ANSWER))


def test_a_conf_that_cannot_be_understood(world: World) -> None:
    conf = world.root / "etc/Chrystoki.conf"
    conf.write_text(conf.read_text() + "LunaSA Client = {\n   NetClient = 0;\n}\n")
    refused(world, 65, "not_understood", "line ")


def test_no_client_at_all(world: World) -> None:
    (world.root / "etc/Chrystoki.conf").unlink()
    refused(world, 78, "client_missing", "/etc/Chrystoki.conf")


def test_vtl_is_missing(world: World) -> None:
    Path(world.client.tool("vtl")).unlink()
    refused(world, 78, "client_missing", "vtl")


@pytest.mark.parametrize("fault", ["hang", "deaf"])
def test_vtl_hangs(world: World, fault: str) -> None:
    edit(world, "[luna]\n", '[luna]\ntool_timeout = "1s"\n')
    world.client.switch(addServer=fault)
    refused(world, 69, "tool_timeout", "vtl addServer did not end within 1 s")


@pytest.mark.parametrize("fault", ["error", "fails", "babble", "crash"])
def test_vtl_fails(world: World, fault: str) -> None:
    world.client.switch(addServer=fault)
    refused(world, 69, "tool_failed", "vtl addServer failed")


@pytest.mark.parametrize("fault", ["truncate", "foreign-key"])
def test_vtl_damages_the_conf(world: World, fault: str) -> None:
    world.client.switch(addServer=fault)
    said = refused(world, 69, "tool_damage", "/etc/Chrystoki.conf")
    assert ("kept as" in said) == (fault == "foreign-key")


def test_the_pin_is_wrong(world: World) -> None:
    for partition in world.estate.partitions:
        partition.pin = "another"
    try:
        error = refused_with_memory(world)
    finally:
        for partition in world.estate.partitions:
            partition.pin = world.estate.pin
    assert "DANGER of lockout" in error
    tries = world.estate.tries
    again = world.agent("enrol")  # halted at the verifier now
    assert again.returncode == 75, again.stderr
    world.party.command("bundle", "resume", "--group", "web")
    refused_here = world.agent("enrol")  # this host would not try it again either
    assert refused_here.returncode == 77, refused_here.stderr
    assert world.estate.tries == tries


def refused_with_memory(world: World) -> str:
    """As `refused`, but the record stays: it remembers the try, so that no later run makes another."""
    tries, before = world.estate.tries, world.files()
    ran = world.agent("enrol")
    assert ran.returncode == 77, ran.stderr
    assert world.estate.tries == tries + 1
    record = "var/lib/hsm-enrol/record.json"
    after = world.files()
    assert json.loads(after.pop(record)[1])["pin"]["state"] == "refused"
    assert {name: found for name, found in after.items() if name not in OWN} == before
    return ran.stderr


def test_a_read_only_disk(world: World) -> None:
    """A mount namespace of this test's own, in which the instance's /etc is read-only."""
    etc = world.root / "etc"
    script = f"mount --bind '{etc}' '{etc}' && mount -o remount,ro,bind '{etc}' && exec \"$@\""
    before = world.files()
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *world.argv("enrol", "--json")],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 73, ran.stderr
    as_its_transcript(json.loads(ran.stdout))
    assert "EROFS" in ran.stderr
    assert "hint: " in ran.stderr
    assert {name: found for name, found in world.files().items() if name not in OWN} == before


def test_unknown_words(world: World) -> None:
    for words in (["enrole"], ["enrol", "--resaon", "boot"], []):
        ran = world.agent(*words)
        assert ran.returncode == 64, ran.stderr
        assert "hint: see `hsm-enrol --help`" in ran.stderr
    as_its_transcript(json.loads(world.agent("--json", "enrole").stdout))


def test_a_damaged_record(world: World) -> None:
    record = world.root / "var/lib/hsm-enrol/record.json"
    record.parent.mkdir(mode=0o700)
    record.write_text("{")
    refused(world, 70, "record_damaged", str(record.relative_to(world.root)))
