"""The audit is whole or says where it is not: every line removed, altered, exchanged, doubled, torn, cut off."""

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hsm_verifier.__main__ import main
from hsm_verifier.audit import Audit, Entry, Fact, last_taken
from hsm_verifier.chain import AuditError, verify
from hsm_verifier.witness import Witness

COUNT = 6
Change = Callable[[list[bytes], int], list[bytes]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "audit.jsonl"
    audit = Audit(made)
    for number in range(COUNT):
        audit.write("enrolment", 1000.0 + number, outcome="refused", instance=f"i-{number:08x}", status=403)
    return made


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def broken(path: Path) -> str:
    with pytest.raises(AuditError) as caught:
        verify(path)
    return str(caught.value)


CHANGES: dict[str, Change] = {
    "removed": lambda all_, at: all_[:at] + all_[at + 1 :],
    "altered": lambda all_, at: [*all_[:at], all_[at].replace(b"403", b"200"), *all_[at + 1 :]],
    "altered by a blank": lambda all_, at: [*all_[:at], all_[at].replace(b":", b": ", 1), *all_[at + 1 :]],
    "said twice": lambda all_, at: [*all_[: at + 1], *all_[at:]],
    "emptied": lambda all_, at: [*all_[:at], b"\n", *all_[at + 1 :]],
    "replaced by what is no object": lambda all_, at: [*all_[:at], b"[]\n", *all_[at + 1 :]],
    "replaced by another": lambda all_, at: [*all_[:at], all_[at - 1], *all_[at + 1 :]],
    "exchanged with its neighbour": lambda all_, at: [*all_[: at - 1], all_[at], all_[at - 1], *all_[at + 1 :]],
    "joined to the next": lambda all_, at: [*all_[:at], all_[at].rstrip(b"\n"), *all_[at + 1 :]],
}


@pytest.mark.parametrize("at", range(1, COUNT))
@pytest.mark.parametrize("change", [pytest.param(one, id=name) for name, one in CHANGES.items()])
def test_a_line_that_was_tampered_with_is_found(path: Path, change: Change, at: int) -> None:
    whole = lines(path)
    path.write_bytes(b"".join(change(whole, at)))
    assert path.read_bytes() != b"".join(whole)
    said = broken(path)
    assert "line" in said
    assert any(f"line {near} " in said for near in (at, at + 1, at + 2))


def test_the_file_cut_off_at_any_byte_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        broken(path)
    path.write_bytes(whole)
    assert verify(path).n == COUNT


def test_a_line_in_the_chain_that_names_no_event_is_found(path: Path) -> None:
    head = verify(path)
    with path.open("a") as file:
        file.write(json.dumps({"n": head.n + 1, "prev": head.hash}) + "\n")
    assert f"line {head.n + 1} was removed or altered" in broken(path)


@pytest.mark.parametrize("kept", [0, 1, COUNT - 1])
@pytest.mark.parametrize("torn", [b"", b'{"n":'])
def test_a_writer_that_finds_lines_cut_off_says_so_for_ever(path: Path, kept: int, torn: bytes) -> None:
    path.write_bytes(b"".join(lines(path)[:kept]) + torn)
    audit = Audit(path)
    audit.write("start", 2000.0)
    audit.write("stop", 2001.0)
    assert f"up to {COUNT}" in broken(path)
    note = next(one for one in map(json.loads, lines(path)[kept + bool(torn) :]) if one["event"] == "cut_off")
    assert (note["was"], note["alarm"]) == (COUNT, True)
    # When it was found, so that it is among the alarms of the last day and not of 1970.
    assert {one["time"] for one in map(json.loads, lines(path)[kept + bool(torn) : -1])} == {
        "1970-01-01T00:33:20.000+00:00"
    }


def test_a_running_writer_notices_it_too(path: Path) -> None:
    audit = Audit(path)
    audit.write("start", 2000.0)
    path.write_bytes(b"".join(lines(path)[:2]))
    audit.write("stop", 2001.0)
    assert f"up to {COUNT + 1}" in broken(path)


def test_a_line_torn_by_a_crash_is_explained_by_the_next_and_no_alarm(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"n":7,"ti')
    assert "crash tore it" in broken(path)
    Audit(path).write("start", 2000.0)
    assert verify(path).n == COUNT + 2
    assert b"cut_off" not in path.read_bytes()


@pytest.mark.parametrize("room", [1, 20])
def test_a_torn_line_is_explained_once_a_full_disk_has_room_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """A full disk takes a part; half an explanation would have left an audit that nobody could write to any more."""
    with path.open("ab") as file:
        file.write(b'{"n":7,"ti')
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda handle, data: write(handle, data[:room]))
        for _ in range(2):
            with pytest.raises(OSError, match="written whole"):
                Audit(path).write("start", 2000.0)
    Audit(path).write("start", 2001.0)
    assert verify(path).n == COUNT + 2


def test_a_torn_line_that_is_changed_afterwards_is_found(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"n":7,"ti')
    Audit(path).write("start", 2000.0)
    path.write_bytes(path.read_bytes().replace(b'{"n":7,"ti\n', b'{"n":7,"to\n'))
    broken(path)


def test_what_was_written_is_on_the_disk_before_anybody_hears_of_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[bytes] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{handle}").read_bytes())
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    Audit(path).write("start", 2000.0)
    assert flushed == [path.read_bytes()]


def test_one_writer_waits_for_another(path: Path) -> None:
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        writing = threading.Thread(target=Audit(path).write, args=("start", 2000.0))
        writing.start()
        writing.join(0.1)
        assert len(lines(path)) == COUNT
    writing.join(20)
    assert verify(path).n == COUNT + 1


def test_only_one_torn_line_is_explained_by_the_next(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"n":7,"ti')
    Audit(path).write("start", 2000.0)
    verify(path)
    path.write_bytes(path.read_bytes().replace(b'{"n":7,"ti', b'{"n":7,"outcome":"answered"}\n{"n":7,"ti', 1))
    assert f"line {COUNT + 1} " in broken(path)


def test_a_head_file_that_lags_after_a_power_cut_is_no_sign_of_anything(path: Path) -> None:
    head = path.with_name("audit.jsonl.head")
    lagging = head.read_bytes()
    Audit(path).write("start", 2000.0)
    head.write_bytes(lagging)
    assert verify(path).n == COUNT + 1
    Audit(path).write("stop", 2001.0)
    assert verify(path).n == COUNT + 2


def test_a_hash_kept_elsewhere_is_found_while_its_line_is_there(path: Path) -> None:
    kept = [hashlib.sha256(line).hexdigest() for line in lines(path)]
    Audit(path).write("start", 2000.0)
    for one in kept:
        assert verify(path, one).n == COUNT + 1


@pytest.mark.parametrize("left", [b"", b"\0" * 82, b"12", "Ω".encode()])
def test_a_head_file_that_a_power_cut_spoilt_is_as_good_as_none(path: Path, left: bytes) -> None:
    head = path.with_name("audit.jsonl.head")
    head.write_bytes(left)
    assert verify(path).n == COUNT
    Audit(path).write("start", 2000.0)
    assert verify(path).n == COUNT + 1


def test_a_hash_kept_elsewhere_finds_what_was_cut_off_with_its_head(path: Path) -> None:
    kept = verify(path).hash
    path.write_bytes(b"".join(lines(path)[:-1]))
    path.with_name("audit.jsonl.head").unlink()
    verify(path)
    with pytest.raises(AuditError, match="expected hash"):
        verify(path, kept)


def test_a_chain_written_anew_is_found_by_a_hash_kept_elsewhere(path: Path) -> None:
    kept = verify(path).hash
    path.unlink()
    path.with_name("audit.jsonl.head").unlink()
    Audit(path).write("enrolment", 1000.0, outcome="answered")
    verify(path)
    with pytest.raises(AuditError, match="expected hash"):
        verify(path, kept)


def test_the_command_ends_with_1_and_names_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "vp")]) == 0
    config = ("--config", str(tmp_path / "vp/hsm-verifier.toml"))
    for word in ("operator", "open"):
        assert main(["ledger", "mode", word, *config]) == 0
    assert main(["audit", "verify", *config]) == 0
    path = tmp_path / "vp/audit.jsonl"
    path.write_bytes(b"".join(lines(path)[i] for i in (0, 2)))
    capsys.readouterr()
    assert main(["audit", "verify", *config]) == 1
    assert "line 2 was removed or altered" in capsys.readouterr().err


TAKEN = Witness(instance_id="i-0123456789abcdef0", serial=7, owner="O" * 43)


def note_taken(path: Path) -> None:
    facts: dict[str, Fact] = {"instance": TAKEN.instance_id, "serial": TAKEN.serial, "owner": TAKEN.owner}
    Audit(path).write("enrolment", 2000.0, outcome="answered", how="new", **facts)


def test_lg5_however_much_was_refused_or_refreshed_since_the_audit_remembers_who_was_served_last(path: Path) -> None:
    note_taken(path)
    facts = {"outcome": "answered", "how": "current", "detail": "x" * 4000}
    Audit(path).write_all([Entry(event="enrolment", now=3000.0, facts=facts)] * 2300)
    assert path.stat().st_size > 9_000_000
    assert last_taken(path, 0.0) == TAKEN
    assert last_taken(path, 2500.0) is None


def test_lg5_who_was_served_last_is_found_wherever_the_file_is_divided(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_taken(path)
    for number in range(COUNT):
        Audit(path).write("enrolment", 3000.0 + number, outcome="answered", how="again", serial=number)
    longest = max(map(len, lines(path)))
    for many in range(longest + 1, path.stat().st_size + 2):
        monkeypatch.setattr("hsm_verifier.audit._MANY", many)
        assert last_taken(path, 0.0) == TAKEN
