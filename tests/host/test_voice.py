import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hsm_enrol.errors import Internal, Refused, SettingsMissing, catalogue
from hsm_enrol.events import EVENTS, JOINED, OUTCOMES, STEP, WAITING, WARNED
from hsm_enrol.host import journald
from hsm_enrol.host.voice import ERR, INFO, LONGEST, NOTICE, WARNING, Voice, open_voice

ROOT = Path(__file__).parent.parent.parent
REFUSED = Refused(reason="not_admitted", decision="d3c1")
NEEDS = (
    "/usr/lib/python3/dist-packages/systemd/journal.py=python3-systemd",
    "journalctl=systemd",
    "/lib/systemd/systemd-journald=systemd",
    "unshare=util-linux",
)


class Journal:
    """Takes entries as systemd-python's `send` does."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.broken = False

    def send(self, message: str, **fields: Any) -> None:
        if self.broken:
            raise OSError("CANARY")
        self.entries.append({"MESSAGE": message, **fields})


def speak(voice: Voice) -> None:
    voice.step("ask", "2 verifiers")
    voice.know(instance="i-0123456789abcdef0", verifier="https://vp1.example")
    voice.say("worth knowing")
    voice.detail("not worth it")
    voice.wait("the verifier asks to come back later: hold (decision d)", 16.7)
    voice.warn("member 12 is down")
    voice.done("joined", "joined: serial 7 in group web")


def test_a_person_reads_lines_with_our_name() -> None:
    heard = io.StringIO()
    speak(Voice(stream=heard))
    assert heard.getvalue().splitlines() == [
        "hsm-enrol: ask: 2 verifiers",
        "hsm-enrol: worth knowing",
        "hsm-enrol: waiting up to 17 s: the verifier asks to come back later: hold (decision d)",
        "hsm-enrol: warning: member 12 is down",
        "hsm-enrol: joined: serial 7 in group web",
    ]


def test_the_curious_hear_more() -> None:
    heard = io.StringIO()
    speak(Voice(stream=heard, verbose=True))
    assert "hsm-enrol: not worth it\n" in heard.getvalue()


def test_fault_hint_and_next_command_are_lines_of_their_own_at_the_end() -> None:
    heard = io.StringIO()
    Voice(stream=heard).fail(REFUSED)
    assert heard.getvalue().splitlines() == [
        "hsm-enrol: the verifier refused this instance: not_admitted (decision d3c1)",
        "hsm-enrol: hint: look the decision up at the verifier: `hsm-verifier audit find d3c1`",
        "hsm-enrol: next: hsm-enrol explain not_admitted",
    ]


def test_a_fault_without_hint_and_next_command_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = io.StringIO()
    monkeypatch.setattr(Internal, "hint", "")
    monkeypatch.setattr(Internal, "then", "")
    Voice(stream=heard).fail(Internal(kind="KeyError", where="plan.py:12"))
    assert heard.getvalue() == "hsm-enrol: a bug: KeyError at plan.py:12\n"


def test_journald_without_the_library_gets_priorities_in_front() -> None:
    heard = io.StringIO()
    voice = Voice(stream=heard, prefixes=True, verbose=True)
    speak(voice)
    voice.fail(REFUSED)
    assert [line[:3] for line in heard.getvalue().splitlines()] == [
        f"<{priority}>" for priority in (INFO, INFO, 7, INFO, WARNING, NOTICE, ERR, ERR, ERR)
    ]
    assert heard.getvalue().startswith("<6>ask: 2 verifiers\n")


def test_an_entry_has_the_message_id_and_all_that_is_known_by_then() -> None:
    journal, heard = Journal(), io.StringIO()
    speak(Voice(stream=heard, prefixes=True, journal=journal.send))
    assert heard.getvalue() == ""
    ids = [entry.get("MESSAGE_ID") for entry in journal.entries]
    assert ids == [STEP.message_id, None, WAITING.message_id, WARNED.message_id, JOINED.message_id]
    assert journal.entries[0] == {
        "MESSAGE": "ask: 2 verifiers",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "hsm-enrol",
        "MESSAGE_ID": STEP.message_id,
        "HSM_ENROL_STEP": "ask",
    }
    assert journal.entries[-1] == {
        "MESSAGE": "joined: serial 7 in group web",
        "PRIORITY": "5",
        "SYSLOG_IDENTIFIER": "hsm-enrol",
        "MESSAGE_ID": JOINED.message_id,
        "HSM_ENROL_STEP": "ask",
        "HSM_ENROL_INSTANCE": "i-0123456789abcdef0",
        "HSM_ENROL_VERIFIER": "https://vp1.example",
        "HSM_ENROL_OUTCOME": "joined",
    }


def test_a_failures_entry_carries_its_facts_and_its_lines_reach_the_console() -> None:
    journal, heard = Journal(), io.StringIO()
    voice = Voice(stream=heard, prefixes=True, journal=journal.send)
    voice.know(instance="i-0", step="ask")
    voice.fail(REFUSED)
    (entry,) = journal.entries
    assert entry == {
        "MESSAGE": REFUSED.fault(),
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "hsm-enrol",
        "MESSAGE_ID": Refused.message_id,
        "HSM_ENROL_INSTANCE": "i-0",
        "HSM_ENROL_STEP": "ask",
        "HSM_ENROL_REASON": "not_admitted",
        "HSM_ENROL_DECISION": "d3c1",
        "HSM_ENROL_ERROR": "refused",
        "HSM_ENROL_EXIT_STATUS": "77",
    }
    assert heard.getvalue().splitlines() == [
        f"<3>{REFUSED.fault()}",
        f"<3>hint: {REFUSED.advice()}",
        f"<3>next: {REFUSED.next_command()}",
    ]


def test_a_failure_without_a_reason_of_the_verifier_has_our_own() -> None:
    journal = Journal()
    Voice(stream=io.StringIO(), journal=journal.send).fail(SettingsMissing(path="/p", error="No such file"))
    assert journal.entries[0]["HSM_ENROL_REASON"] == "settings_missing"
    assert journal.entries[0]["HSM_ENROL_PATH"] == "/p"


def test_a_journal_that_takes_nothing_is_replaced_by_the_stream() -> None:
    journal, heard = Journal(), io.StringIO()
    journal.broken = True
    speak(Voice(stream=heard, prefixes=True, journal=journal.send))
    assert len(heard.getvalue().splitlines()) == 5
    assert "CANARY" not in heard.getvalue()


def test_whatever_a_name_holds_a_line_stays_one_line() -> None:
    journal, heard = Journal(), io.StringIO()
    evil = "/etc/x\n<0>kernel: FAKE\x1b[2J\u202e" + "y" * 5000
    for voice in (Voice(stream=heard), Voice(stream=heard, journal=journal.send)):
        voice.fail(SettingsMissing(path=evil, error="x"))
    assert len(heard.getvalue().splitlines()) == 6
    assert "\x1b" not in heard.getvalue()
    for value in journal.entries[0].values():
        assert len(value) <= LONGEST
        assert value.isprintable()


@pytest.mark.parametrize("how", ["closed", "broken pipe"])
def test_nobody_listening_does_not_stop_a_run(how: str) -> None:
    read_end, write_end = os.pipe()
    stream = os.fdopen(write_end, "w")
    os.close(read_end)
    if how == "closed":
        stream.close()
    voice = Voice(stream=stream)
    speak(voice)
    voice.fail(REFUSED)
    if how != "closed":
        with pytest.raises(BrokenPipeError):
            stream.close()  # what was never taken is still there


# --- where stderr leads


def test_a_stream_that_journald_reads_is_known_by_device_and_inode(tmp_path: Path) -> None:
    with (tmp_path / "one").open("w") as one, (tmp_path / "two").open("w") as two:
        found = os.fstat(one.fileno())
        environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}", "INVOCATION_ID": "a" * 32}
        assert journald.reads(one, environ) is True
        assert journald.reads(two, environ) is False  # inherited, but redirected
        assert journald.reads(one, {"INVOCATION_ID": "a" * 32}) is False
        assert open_voice(one, environ).prefixes is True
        assert open_voice(two, environ) == Voice(stream=two)
    assert journald.reads(one, environ) is False  # closed
    assert journald.reads(io.StringIO(), environ) is False


def test_without_the_library_there_is_no_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "systemd.journal", None)
    assert journald.sender() is None


def test_by_default_stderr_and_the_environment_are_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    open_voice().say("here")
    assert capsys.readouterr() == ("", "hsm-enrol: here\n")


# --- a journald of its own


def in_own_journald(folder: Path, *command: str) -> tuple[int, list[dict[str, str]], str]:
    subprocess.run([ROOT / "packaging/dev/needs.sh", *NEEDS], check=True, timeout=110)
    script = Path(__file__).with_name("own_journald.py")
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    made = subprocess.run(
        [*apart, sys.executable, script, folder, *command], capture_output=True, text=True, timeout=60, check=False
    )
    assert made.returncode == 0, made.stderr
    entries = [json.loads(line) for line in (folder / "entries.json").read_text().splitlines()]
    return json.loads(made.stdout)["status"], entries, (folder / "explained.txt").read_text()


STORY = """
from hsm_enrol.errors import Refused
from hsm_enrol.host.voice import open_voice
voice = open_voice()
voice.know(instance="i-0123456789abcdef0")
voice.step("ask", "2 verifiers")
voice.warn("member 12 is down")
voice.fail(Refused(reason="not_admitted", decision="d3c1"))
"""


def test_a_real_journal_holds_fields_and_shows_the_catalogs_words(tmp_path: Path) -> None:
    status, entries, explained = in_own_journald(tmp_path, "/usr/bin/python3", "-c", STORY)
    assert status == 0
    sent = [entry for entry in entries if entry["_TRANSPORT"] == "journal"]
    assert [(entry["PRIORITY"], entry["MESSAGE"], entry["MESSAGE_ID"]) for entry in sent] == [
        ("6", "ask: 2 verifiers", STEP.message_id),
        ("4", "warning: member 12 is down", WARNED.message_id),
        ("3", REFUSED.fault(), Refused.message_id),
    ]
    assert {entry["SYSLOG_IDENTIFIER"] for entry in entries} == {"hsm-enrol"}
    ours = {name: value for name, value in sent[-1].items() if name.startswith("HSM_ENROL_")}
    assert ours == {
        "HSM_ENROL_INSTANCE": "i-0123456789abcdef0",
        "HSM_ENROL_STEP": "ask",
        "HSM_ENROL_REASON": "not_admitted",
        "HSM_ENROL_DECISION": "d3c1",
        "HSM_ENROL_ERROR": "refused",
        "HSM_ENROL_EXIT_STATUS": "77",
    }
    streamed = [(entry["PRIORITY"], entry["MESSAGE"]) for entry in entries if entry["_TRANSPORT"] == "stdout"]
    assert streamed == [
        ("3", REFUSED.fault()),
        ("3", f"hint: {REFUSED.advice()}"),
        ("3", f"next: {REFUSED.next_command()}"),
    ]
    assert not any("EXCEPTION" in name or "TRACEBACK" in name for entry in entries for name in entry)
    assert "░ step ask began\n" in explained.replace("Subject: ", "")
    assert "hsm-enrol works on instance i-0123456789abcdef0." in explained
    assert "Exit status 77 (`refused`), in step ask on instance i-0123456789abcdef0." in explained


def test_every_message_id_is_one_of_a_kind() -> None:
    ids = [kind.message_id for kind in catalogue()] + [event.message_id for event in EVENTS]
    assert len(set(ids)) == len(ids)
    assert set(OUTCOMES.values()) < set(EVENTS)
