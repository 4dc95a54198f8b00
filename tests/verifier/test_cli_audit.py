"""Reading the audit, trying a policy, tokens, the ledger as a table: what operators see, and what cannot trick them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from hsm_verifier.__main__ import main
from hsm_verifier.admin.tokens import Tokens
from hsm_verifier.audit import Audit, Fact, tail
from hsm_verifier.cli import audit as cli_audit
from hsm_verifier.cli.common import open_store, paint
from hsm_verifier.inventory.facts import Facts
from hsm_verifier.ledger.schema import slots
from hsm_verifier.policy_file import load_policy
from hsm_verifier.refusal import Refusal
from hsm_verifier.remembered import Remembered
from hsm_verifier.service import Service
from hsm_verifier.settings import load_settings
from lab.fleet import HOSTILE_NAME, make_up
from lab.pictures import new_folder
from tests.verifier.party import FACTS, INSTANCE, NOW, Party

Run = Callable[..., tuple[int, str, str]]
OTHER = "i-0fedcba9876543210"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return new_folder(tmp_path / "vp").path.parent


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> tuple[int, str, str]:
        status = main([*words, "--config", str(folder / "hsm-verifier.toml")])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def audit(folder: Path) -> Audit:
    return Audit(folder / "audit.jsonl")


def test_tail_tells_a_decision_in_one_line(run: Run, audit: Audit) -> None:
    facts: dict[str, Fact] = {"instance": INSTANCE, "group": "web", "source": "192.0.2.7", "decision": "0123456789ab"}
    audit.write("enrolment", NOW, outcome="answered", how="new", **facts)
    refused: dict[str, Fact] = {"reason": "already_enrolled", "detail": "O1 another_key", "alarm": True}
    audit.write("enrolment", NOW + 1, outcome="refused", **facts, **refused)
    audit.write("grant", NOW + 2, instance=INSTANCE, by="alice", count=1, why="disk replaced")
    status, out, _ = run("audit", "tail", "-n", "3")
    assert status == 0
    who, rest = f"{INSTANCE}  group web", "from 192.0.2.7  decision 0123456789ab"
    assert out.splitlines() == [
        f"2027-01-15 08:00:00Z  enrolment  answered  {who}  new  {rest}",
        f"2027-01-15 08:00:01Z  enrolment  refused  {who}  already_enrolled: O1 another_key  {rest}  ALARM",
        f"2027-01-15 08:00:02Z  grant  {INSTANCE}  count 1, why disk replaced  by alice",
    ]
    assert len(run("audit", "tail", "-n", "1")[1].splitlines()) == 1
    assert run("audit", "tail", "-n", "0")[:2] == (0, "")
    assert len(run("audit", "tail", "-n", "100000")[1].splitlines()) == 4
    assert run("audit", "tail", "-n", "-1")[0] == 64
    raw = run("audit", "tail", "-n", "3", "--json")[1].splitlines()
    assert [json.loads(line)["event"] for line in raw] == ["enrolment", "enrolment", "grant"]


def test_tail_reads_no_more_of_years_of_audit_than_it_shows(run: Run, folder: Path) -> None:
    with (folder / "audit.jsonl").open("wb") as file:
        file.truncate(2**38)
        file.seek(2**38)
        file.write(b"\n")
        file.writelines(b'{"event":"enrolment","n":%d}\n' % number for number in range(5))
    assert [json.loads(line)["n"] for line in run("audit", "tail", "-n", "3", "--json")[1].splitlines()] == [2, 3, 4]


def test_a_line_that_comes_as_the_newest_are_read_is_shown_once(
    run: Run, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_as_one_comes(*what: Any) -> tuple[str, ...]:
        audit.write("grant", NOW, instance=INSTANCE, by="alice", count=7)
        return tail(*what)

    def pause(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_audit, "tail", look_as_one_comes)
    monkeypatch.setattr(time, "sleep", pause)
    status, out, _ = run("audit", "tail", "-f")
    assert (status, out.count("count 7"), out.count("init")) == (130, 1, 1)


def test_a_terminal_of_an_older_locale_is_shown_what_it_cannot_write_as_escapes(folder: Path, audit: Audit) -> None:
    long = "\N{RIGHTWARDS ARROW}" + "x" * 900  # cut by an ellipsis
    audit.write("grant", NOW, instance=INSTANCE, by="alice", why=long)
    audit.write("grant", NOW, instance=INSTANCE, by="bob")
    words = ["audit", "tail", "--config", str(folder / "hsm-verifier.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "hsm_verifier", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONIOENCODING": "iso8859-1"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2192xxx" in done.stdout
    assert "by bob" in done.stdout


def test_a_hostile_name_or_a_line_that_is_none_of_ours_does_nothing_to_the_terminal(
    run: Run, folder: Path, audit: Audit
) -> None:
    seen: Fact = {"private_dns": HOSTILE_NAME, "tags": {"Name": HOSTILE_NAME}}
    audit.write("enrolment", NOW, outcome="refused", instance="\x1b[2J", reason="\u202e", detail="\x9b31m", seen=seen)
    with (folder / "audit.jsonl").open("ab") as file:
        file.write(b"\x1b]0;owned\x07 not json \xff\n")
    for words in (("audit", "tail"), ("audit", "tail", "--json"), ("audit", "find", "enrolment")):
        _, out, _ = run(*words)
        assert out.replace("\n", "").isprintable()
    assert "\\x1b[2J" in run("audit", "tail")[1]
    assert "\\x1b]0;owned\\x07 not json" in run("audit", "tail")[1]


def test_find_gives_every_line_about_a_decision_or_an_instance(run: Run, audit: Audit) -> None:
    audit.write("enrolment", NOW, outcome="refused", instance=INSTANCE, decision="0123456789ab", reason="hold")
    audit.write("enrolment", NOW, outcome="refused", instance=OTHER, decision="ba9876543210", reason="hold")
    audit.write("receipt", NOW, outcome="answered", instance=INSTANCE, decision="aaaaaaaaaaaa")
    assert run("audit", "find", "0123456789ab")[1].count("\n") == 1
    assert run("audit", "find", INSTANCE)[1].count("\n") == 2
    assert run("audit", "find", "hold")[1].count("\n") == 2
    assert json.loads(run("audit", "find", "ba9876543210", "--json")[1])["instance"] == OTHER
    assert run("audit", "find", "nothing")[:2] == (1, "")


@pytest.fixture
def following(folder: Path) -> Iterator[subprocess.Popen[str]]:
    words = ["audit", "tail", "-n", "1", "-f", "--config", str(folder / "hsm-verifier.toml")]
    process = subprocess.Popen(
        [sys.executable, "-m", "hsm_verifier", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate(timeout=10)


def test_follow_shows_lines_as_they_come(following: subprocess.Popen[str], audit: Audit) -> None:
    assert following.stdout is not None
    assert "init" in following.stdout.readline()
    for number in range(3):
        audit.write("grant", NOW, instance=INSTANCE, by="alice", count=number)
        assert f"count {number}" in following.stdout.readline()


@pytest.mark.timeout(30)
def test_follow_goes_on_with_the_file_that_is_begun_when_the_audit_is_put_away(
    following: subprocess.Popen[str], folder: Path, audit: Audit
) -> None:
    assert following.stdout is not None
    assert "init" in following.stdout.readline()
    audit.write("grant", NOW, instance=INSTANCE, by="alice", why="x" * 900)
    assert "grant" in following.stdout.readline()
    for name in ("audit.jsonl", "audit.jsonl.head"):
        (folder / name).rename(folder / f"old-{name}")
    for number in range(3):
        audit.write("grant", NOW, instance=INSTANCE, by="alice", count=number)
        assert f"count {number}" in following.stdout.readline()


def test_a_reader_that_has_seen_enough_is_no_fault(folder: Path, audit: Audit) -> None:
    with (folder / "audit.jsonl").open("a") as file:
        file.writelines(json.dumps({"event": "filler", "by": "x" * 80}) + "\n" for _ in range(3000))
    words = [sys.executable, "-m", "hsm_verifier", "audit", "tail", "-n", "3000", "--config"]
    with subprocess.Popen(
        [*words, str(folder / "hsm-verifier.toml")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 0


class Terminal:
    def isatty(self) -> bool:
        return True


def test_colours_only_on_a_terminal_whose_owner_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert paint("x", "31", Terminal()) == "\x1b[31mx\x1b[0m"  # type: ignore[arg-type]
    assert paint("x", "", Terminal()) == "x"  # type: ignore[arg-type]
    with Path(os.devnull).open("w") as file:
        assert paint("x", "31", file) == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "31", Terminal()) == "x"  # type: ignore[arg-type]


def test_ledger_list_fits_a_screen_and_can_be_narrowed(run: Run, folder: Path) -> None:
    from hsm_verifier.cli.common import open_vault

    settings = load_settings(folder / "hsm-verifier.toml")
    store = open_store(settings)
    make_up(settings, store, open_vault(settings), count=130, now=time.time())
    with store.deciding() as tx:
        tx.execute(update(slots).where(slots.c.code.is_not(None)).values(code="no_slots\x1b[2J"))
    store.close()
    _, out, _ = run("ledger", "list")
    assert out.replace("\n", "").isprintable()
    lines = out.splitlines()
    assert lines[0].split() == ["INSTANCE", "STATE", "GROUP", "SERIAL", "AGE", "LAST", "REPORT"]
    assert len(lines) == 132
    assert max(len(line) for line in lines if "x1b" not in line) <= 80
    revoked = run("ledger", "list", "--state", "REVOKED")[1].splitlines()[1:]
    assert revoked
    assert all("REVOKED" in line for line in revoked)
    overdue = run("ledger", "list", "--overdue")[1].splitlines()[1:]
    assert overdue
    assert all("TAKEN (overdue)" in line for line in overdue)
    batch = json.loads(run("ledger", "list", "--group", "batch", "--json")[1])
    assert {one["group"] for one in batch} == {"batch"}
    assert "identity-role" in run("ledger", "list", "--wide")[1]


POLICY = """
[groups.web]
accounts = ["111122223333"]
regions = ["eu-central-1"]
level = "identity-role"
windows = { since_start = "15min" }
"""


@pytest.fixture
def judged(party: Party, published: int, folder: Path) -> Party:
    """Decisions by a real policy, written into the folder's audit."""
    (folder / "old.toml").write_text(POLICY)
    party.world = replace(party.world, policy=load_policy(folder / "old.toml"))
    service = Service(party.world, Audit(folder / "audit.jsonl"))
    party.aws.facts = replace(FACTS, tags={"Service": "web", "Name": HOSTILE_NAME})
    assert service.enrol(party.asker().ask(), "10.0.0.7").status == 200
    party.aws.facts = replace(FACTS, instance_id=OTHER, launch_time=NOW - 3600)
    assert service.enrol(party.asker(OTHER).ask(), "10.0.0.7").status == 403
    party.aws.sts_says = Refusal("evidence_invalid", "V8 signature")
    assert service.enrol(party.asker("i-0000000000000aaaa").ask(), "10.0.0.7").status == 403
    return party


def try_policy(run: Run, folder: Path, text: str, *words: str) -> tuple[int, str]:
    (folder / "new.toml").write_text(text)
    status, out, err = run("policy", "try", str(folder / "new.toml"), *words)
    assert err == ""
    return status, out


def test_the_same_policy_decides_the_same(judged: Party, run: Run, folder: Path) -> None:
    status, out = try_policy(run, folder, POLICY)
    assert status == 0
    assert out.splitlines()[1:] == [
        "  2 as before",
        "  0 would change",
        "  1 cannot be told: they ended before a policy was asked",
    ]
    told = json.loads(try_policy(run, folder, POLICY, "--json")[1])
    assert told == {"decisions": 3, "changes": [], "cannot_be_told": {"V8 signature": 1}}


CHANGES = (
    # what is changed in the policy, whose decision that changes, from what, to what
    ('regions = ["eu-central-1"]', 'regions = ["eu-west-1"]', INSTANCE, "web", "V10 account_or_region"),
    ("level =", 'tags = { Service = "db" }\nlevel =', INSTANCE, "web", "V10 tag_Service_differs"),
    ("level =", 'roles = ["other"]\nlevel =', INSTANCE, "web", "V10 role_not_in_group"),
    ("level =", "demand_iid = true\nlevel =", INSTANCE, "web", "V10 iid_demanded"),
    ("level =", 'kems = ["mlkem768-x25519"]\nlevel =', INSTANCE, "web", "V10 kem"),
    ('"15min"', '"2h"', OTHER, None, "web"),
    ("groups.web", "groups.all", INSTANCE, "web", "all"),
)


@pytest.mark.parametrize("change", CHANGES, ids=[one[1].splitlines()[0] for one in CHANGES])
def test_another_policy_is_tried_against_what_was_decided(
    judged: Party, run: Run, folder: Path, change: tuple[str, str, str, str | None, str]
) -> None:
    old, new, instance, before, after = change
    audit_before = (folder / "audit.jsonl").read_bytes()
    status, out = try_policy(run, folder, POLICY.replace(old, new), "--json")
    (only,) = json.loads(out)["changes"]
    assert (status, only["instance"], only["before"]["group"]) == (1, instance, before)
    assert after in {only["after"]["group"], only["after"]["why"]}
    _, table = try_policy(run, folder, POLICY.replace(old, new))
    assert "  1 would change" in table
    assert instance in table
    assert (folder / "audit.jsonl").read_bytes() == audit_before


def test_the_source_address_of_then_is_judged_too(judged: Party, run: Run, folder: Path) -> None:
    strict = POLICY.replace("level =", 'source = { mode = "enforce" }\nlevel =')
    assert try_policy(run, folder, strict)[0] == 0
    log = folder / "audit.jsonl"
    log.write_text(log.read_text().replace('"source":"10.0.0.7"', '"source":"192.0.2.9"'))
    status, out = try_policy(run, folder, strict, "--json")
    assert status == 1
    assert json.loads(out)["changes"][0]["after"]["why"] == "V11 source_differs"


def test_only_the_last_decisions_are_tried(judged: Party, run: Run, folder: Path) -> None:
    assert json.loads(try_policy(run, folder, POLICY, "--last", "1", "--json")[1])["decisions"] == 1
    (folder / "new.toml").write_text(POLICY.replace("level", "levle"))
    status, _, err = run("policy", "try", str(folder / "new.toml"))
    assert (status, "did you mean level" in err) == (78, True)
    assert run("policy", "try", str(folder / "old.toml"), "--last", "0")[0] == 64


def test_what_the_ledger_said_is_not_taken_for_the_policys_word(
    party: Party, published: int, run: Run, folder: Path
) -> None:
    (folder / "old.toml").write_text(POLICY)
    party.world = replace(party.world, policy=load_policy(folder / "old.toml"))
    service = Service(party.world, Audit(folder / "audit.jsonl"))
    service.enrol(party.asker().ask(), "10.0.0.7")
    assert service.enrol(party.asker().ask(), "10.0.0.7").status == 409
    assert try_policy(run, folder, POLICY)[0] == 0


def test_the_audit_keeps_facts_and_no_evidence(judged: Party, folder: Path) -> None:
    text = (folder / "audit.jsonl").read_text()
    line = next(json.loads(one) for one in text.splitlines() if '"seen"' in one)
    assert line["claims"]["instance-type"] == "m5.large"
    assert line["seen"]["tags"]["Service"] == "web"
    for secret in ("CANARYtoken", "ASIAABCDEFGHIJKLMNOP", "a" * 64, "BEGIN"):
        assert secret not in text


def test_tags_that_would_swell_the_audit_are_left_out_and_then_nothing_is_told(
    party: Party, published: int, run: Run, folder: Path
) -> None:
    (folder / "old.toml").write_text(POLICY)
    party.world = replace(party.world, policy=load_policy(folder / "old.toml"))
    party.aws.facts = replace(FACTS, tags={f"{number:0128}": "\U0001f600" * 256 for number in range(50)})
    service = Service(party.world, Audit(folder / "audit.jsonl"))
    assert service.enrol(party.asker().ask(), "10.0.0.7").status == 200
    assert max(map(len, (folder / "audit.jsonl").read_bytes().splitlines())) < 4096
    told = json.loads(try_policy(run, folder, POLICY, "--json")[1])
    assert (told["changes"], told["cannot_be_told"]) == ([], {"new": 1})


def test_a_line_of_any_length_is_followed_by_the_next(folder: Path, audit: Audit, run: Run) -> None:
    for length in (100_000, 70_000, 10):
        audit.write("grant", NOW, instance=INSTANCE, by="alice", why="x" * length)
        Audit(folder / "audit.jsonl").write("grant", NOW, instance=INSTANCE, by="bob")
    with (folder / "audit.jsonl").open("ab") as file:
        file.write(b"t" * 200_000)
    Audit(folder / "audit.jsonl").write("grant", NOW, instance=INSTANCE, by="bob")
    assert run("audit", "verify")[0] == 0


def test_what_was_kept_comes_back_and_what_was_altered_does_not(party: Party) -> None:
    kept = Remembered(
        instance=party.asker().request().instance,
        seen=replace(FACTS, tags={"a": "b"}),
        document=True,
        kem="p256",
        first_time=False,
        judged_at=NOW,
    )
    record = json.loads(json.dumps(kept.as_facts()))
    assert Remembered.from_record(record) == kept
    assert isinstance(kept.seen, Facts)
    for name in record:
        assert Remembered.from_record({key: value for key, value in record.items() if key != name}) is None
    altered: tuple[dict[str, object], ...] = (
        {"seen": 7},
        {"claims": []},
        {"judged_at": "x"},
        {"seen": {**record["seen"], "launch_time": "x"}},
    )
    for changes in altered:
        assert Remembered.from_record(record | changes) is None


def test_tokens_are_made_listed_and_taken_back_and_the_audit_knows(run: Run, folder: Path) -> None:
    config = folder / "hsm-verifier.toml"
    status, _, err = run("admin", "token", "add", "alice")
    assert (status, 'write: tokens = "secrets/admin-tokens"' in err) == (78, True)
    config.write_text(config.read_text().replace("[admin]", '[admin]\ntokens = "secrets/admin-tokens"', 1))
    assert run("admin", "token", "list")[1].split() == ["NAME", "MAY"]
    token = run("admin", "token", "add", "alice")[1].strip()
    reader = run("admin", "token", "add", "prometheus", "--read")[1].strip()
    tokens = Tokens(folder / "secrets" / "admin-tokens")
    assert [(one.name, one.may_act) for one in (tokens.find(token), tokens.find(reader)) if one] == [
        ("token alice", True),
        ("token prometheus", False),
    ]
    assert run("admin", "token", "list")[1].split() == ["NAME", "MAY", "alice", "act", "prometheus", "read"]
    assert run("admin", "token", "add", "alice")[0] == 64
    assert run("admin", "token", "remove", "alice")[0] == 0
    assert run("admin", "token", "remove", "alice")[0] == 1
    assert tokens.find(token) is None
    log = run("audit", "tail", "--json")[1]
    assert [json.loads(line)["event"] for line in log.splitlines()][-3:] == [
        "admin_token_added",
        "admin_token_added",
        "admin_token_removed",
    ]
    assert token not in log
