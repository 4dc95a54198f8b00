"""The rollback journal alone: all or nothing, said honestly when it cannot be, and nobody's hand work lost."""

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hsm_enrol.errors import UndoDamaged, UndoIncomplete, UnsafeFile
from hsm_enrol.host import files, undo
from hsm_enrol.host.keep import Entry


class PowerCut(Exception):
    """Stands for a kill: nothing of ours runs after it."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/conf").write_bytes(b"old")
    return tmp_path


def state(root: Path) -> str:
    return f"{root}/var/lib/hsm-enrol"


def killed_halfway(root: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None], *watch: str) -> None:
    """Leave the files as a killed run does: the journal is there and nobody has settled."""
    with monkeypatch.context() as patch:
        patch.setattr(undo, "settle", lambda *_, **__: None)
        with pytest.raises(PowerCut), undo.begin(state(root), watch=watch, root=str(root)):  # noqa: PT012  the block is the test
            act()
            raise PowerCut
    assert os.path.isdir(state(root) + "/undo")


def stop(*_: object) -> None:
    raise PowerCut


def test_leaving_without_a_commit_puts_everything_back(root: Path) -> None:
    with undo.begin(state(root), watch=[f"{root}/etc/conf", f"{root}/etc/new"], root=str(root)) as journal:
        assert journal.covers(f"{root}/etc/new")
        assert not journal.covers(f"{root}/etc/other")
        files.put_file(f"{root}/etc/conf", b"new")
        files.put_file(f"{root}/etc/new", b"new")
    assert (root / "etc/conf").read_bytes() == b"old"
    assert sorted(os.listdir(root / "etc")) == ["conf"]
    assert os.listdir(state(root)) == []


def test_a_commit_keeps_the_new_and_drops_the_superseded(root: Path) -> None:
    (root / "etc/stale").write_bytes(b"stale")
    with undo.begin(state(root), watch=[f"{root}/etc/conf"], drop=[f"{root}/etc/stale"], root=str(root)) as journal:
        files.put_file(f"{root}/etc/conf", b"new")
        journal.commit(json.dumps({"tx": journal.tx}).encode())
        assert (root / "etc/stale").exists()
    assert sorted(os.listdir(root / "etc")) == ["conf"]
    assert os.listdir(state(root)) == ["record.json"]
    assert stat.S_IMODE((Path(state(root)) / "record.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(state(root)).stat().st_mode) == 0o700


def test_an_exception_after_the_commit_does_not_take_it_back(root: Path) -> None:
    def run() -> None:
        with undo.begin(state(root), watch=[f"{root}/etc/conf"], root=str(root)) as journal:
            files.put_file(f"{root}/etc/conf", b"new")
            journal.commit(json.dumps({"tx": journal.tx}).encode())
            raise PowerCut

    with pytest.raises(PowerCut):
        run()
    assert (root / "etc/conf").read_bytes() == b"new"
    assert os.listdir(state(root)) == ["record.json"]


def test_nothing_to_settle_is_said_without_touching_anything(root: Path) -> None:
    assert undo.settle(state(root), root=str(root)).outcome == "nothing"
    assert not os.path.exists(state(root))


def test_two_transactions_have_two_names(root: Path) -> None:
    with undo.begin(state(root), watch=[], root=str(root)) as first:
        pass
    with undo.begin(state(root), watch=[], root=str(root)) as second:
        pass
    assert first.tx != second.tx


def test_work_done_by_hand_after_a_crash_is_moved_aside_and_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = f"{root}/etc/conf"
    killed_halfway(root, monkeypatch, lambda: files.put_file(conf, b"ours"), conf)
    Path(conf).write_bytes(b"mended by hand")
    asked: list[tuple[str, bytes, bytes]] = []

    def by_hand(path: str, saved: bytes, now: bytes) -> bool:
        asked.append((path, saved, now))
        return b"hand" in now

    settled = undo.settle(state(root), root=str(root), by_hand=by_hand)
    assert asked == [(conf, b"old", b"mended by hand")]
    assert settled == undo.Settled(outcome="undone", displaced=(conf + ".hsm-enrol-displaced",))
    assert Path(conf).read_bytes() == b"old"
    assert Path(settled.displaced[0]).read_bytes() == b"mended by hand"


def test_work_done_by_hand_during_a_run_that_is_undone_is_moved_aside_and_told(root: Path) -> None:
    conf, told = f"{root}/etc/conf", list[str]()
    with undo.begin(state(root), watch=[conf], root=str(root), by_hand=lambda *_: True, tell=told.append):
        Path(conf).write_bytes(b"mended by hand")
    assert told == [conf + ".hsm-enrol-displaced"]
    assert Path(conf).read_bytes() == b"old"
    assert Path(told[0]).read_bytes() == b"mended by hand"


def test_an_edit_that_was_kept_is_not_lost_to_the_next_one_and_the_same_is_kept_once(root: Path) -> None:
    conf, told = f"{root}/etc/conf", list[str]()
    for edit in (b"first", b"first", *(f"{number}".encode() for number in range(20))):
        with undo.begin(state(root), watch=[conf], root=str(root), by_hand=lambda *_: True, tell=told.append):
            Path(conf).write_bytes(edit)
    assert told[:3] == [conf + ".hsm-enrol-displaced"] * 2 + [conf + ".hsm-enrol-displaced-2"]
    assert len(set(told)) == 9
    assert Path(told[0]).read_bytes() == b"first"


def test_what_was_moved_aside_is_told_also_when_the_undo_is_not_complete(root: Path) -> None:
    conf, other, told = f"{root}/etc/conf", f"{root}/etc/other", list[str]()
    Path(other).write_bytes(b"old other")

    def run() -> None:
        with undo.begin(state(root), watch=[other, conf], root=str(root), by_hand=lambda *_: True, tell=told.append):
            Path(conf).write_bytes(b"mended by hand")
            Path(other).unlink()
            for copy in (root / "etc").glob(".hsm-enrol.*"):
                if copy.read_bytes() == b"old other":
                    copy.unlink()

    with pytest.raises(UndoIncomplete):
        run()
    assert told == [conf + ".hsm-enrol-displaced"]


def test_a_file_put_back_by_hand_already_is_not_asked_about(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = f"{root}/etc/conf"
    killed_halfway(root, monkeypatch, lambda: files.put_file(conf, b"ours"), conf)
    Path(conf).write_bytes(b"old")
    assert undo.settle(state(root), root=str(root), by_hand=lambda *_: True).displaced == ()


def test_a_deleted_copy_is_reported_every_other_entry_is_tried_and_the_journal_stays(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf, other = f"{root}/etc/conf", f"{root}/etc/other"
    Path(other).write_bytes(b"old other")

    def change() -> None:
        files.put_file(conf, b"ours")
        files.put_file(other, b"ours")

    killed_halfway(root, monkeypatch, change, conf, other)
    for name in os.listdir(root / "etc"):
        if files.OURS.match(name) and (root / "etc" / name).read_bytes() == b"old":
            (root / "etc" / name).unlink()
    for _ in range(2):
        with pytest.raises(UndoIncomplete) as caught:
            undo.settle(state(root), root=str(root))
        assert caught.value.facts == {"count": 1, "path": conf}
        assert Path(other).read_bytes() == b"old other"
        assert os.path.exists(state(root) + "/undo/journal.json")
    # Nobody can bring that copy back: what to do then is said.
    assert caught.value.advice().endswith("mend the file by hand and remove /var/lib/hsm-enrol/undo")
    shutil.rmtree(state(root) + "/undo")
    assert undo.settle(state(root), root=str(root)).outcome == "nothing"


def test_an_unchanged_file_that_cannot_be_replaced_is_as_it_was(root: Path) -> None:
    """Watched only because a tool might have written it: a certificate of the site's with `chattr +i`."""
    conf, theirs = f"{root}/etc/conf", f"{root}/etc/theirs"
    Path(theirs).write_bytes(b"theirs")
    subprocess.run(["chattr", "+i", theirs], check=True)
    try:
        with pytest.raises(PowerCut), undo.begin(state(root), watch=(conf, theirs), root=str(root)):  # noqa: PT012  the block is the test
            files.put_file(conf, b"ours")
            raise PowerCut
        assert not os.path.exists(state(root) + "/undo")
        assert (Path(conf).read_bytes(), Path(theirs).read_bytes()) == (b"old", b"theirs")
        assert sorted(os.listdir(root / "etc")) == ["conf", "theirs"]
    finally:
        subprocess.run(["chattr", "-i", theirs], check=True)


def test_an_undo_that_is_cut_off_at_its_end_is_finished_though_a_file_could_not_be_replaced(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copies are gone by then, and one of them did not become the file."""
    conf, theirs = f"{root}/etc/conf", f"{root}/etc/theirs"
    Path(theirs).write_bytes(b"theirs")
    killed_halfway(root, monkeypatch, lambda: files.put_file(conf, b"ours"), conf, theirs)
    subprocess.run(["chattr", "+i", theirs], check=True)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(undo, "_close", stop)
            with pytest.raises(PowerCut):
                undo.settle(state(root), root=str(root))
        assert undo.settle(state(root), root=str(root)).outcome == "undone"
        assert (Path(conf).read_bytes(), Path(theirs).read_bytes()) == (b"old", b"theirs")
        assert sorted(os.listdir(root / "etc")) == ["conf", "theirs"]
        assert os.listdir(state(root)) == []
    finally:
        subprocess.run(["chattr", "-i", theirs], check=True)


def test_what_a_reboot_emptied_is_not_missed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = root / "run/hsm-enrol"
    run.mkdir(parents=True)
    (run / "partition-pin").write_bytes(b"old")
    pin, made = f"{run}/partition-pin", f"{run}/ha.env"
    killed_halfway(root, monkeypatch, lambda: files.put_file(pin, b"new"), pin, made)
    for name in os.listdir(run):
        (run / name).unlink()
    run.rmdir()
    assert undo.settle(state(root), root=str(root)).outcome == "undone"
    assert not os.path.exists(state(root) + "/undo")


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\0" * 500,
        b"{}",
        b"[]",
        b'{"schema": 1, "tx": "t", "folders": ["etc"], "entries": [], "drop": []}',
        b'{"schema": 2, "tx": "t", "folders": [], "entries": [], "drop": []}',
        b'{"schema": 1, "tx": "t", "folders": [], "drop": [], "entries": [{"path": "/a", "was": "file", "to": "/b"}]}',
    ],
)
def test_a_damaged_journal_moves_no_file(root: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes) -> None:
    conf = f"{root}/etc/conf"
    killed_halfway(root, monkeypatch, lambda: files.put_file(conf, b"ours"), conf)
    Path(state(root), "undo/journal.json").write_bytes(damage)
    with pytest.raises(UndoDamaged):
        undo.settle(state(root), root=str(root))
    assert Path(conf).read_bytes() == b"ours"


def test_a_folder_we_made_stays_when_somebody_else_used_it(root: Path) -> None:
    made = f"{root}/etc/server"
    with undo.begin(state(root), watch=[made, f"{made}/a"], root=str(root)):
        files.make_folder(made)
        files.put_file(f"{made}/a", b"ours")
        Path(made, "theirs").write_bytes(b"theirs")
    assert os.listdir(made) == ["theirs"]


def test_a_pipe_among_the_watched_is_refused_before_anything_changes(root: Path) -> None:
    os.mkfifo(root / "etc/pipe")
    with (
        pytest.raises(UnsafeFile),
        undo.begin(state(root), watch=[f"{root}/etc/conf", f"{root}/etc/pipe"], root=str(root)),
    ):
        raise PowerCut
    assert sorted(os.listdir(root / "etc")) == ["conf", "pipe"]
    assert os.listdir(state(root)) == []


def test_paths_that_are_no_text_survive_the_journal() -> None:
    odd = os.fsdecode(b"/etc/\xe9\xff\n")
    script = undo.Script(tx="t", folders=("/etc",), entries=(Entry(path=odd, was="link", to=odd),), drop=(odd,))
    assert undo.Script.from_bytes(script.to_bytes(), "p") == script


def test_each_rename_is_of_a_file_that_is_safe_on_disk_and_its_folder_is_made_safe_before_the_commit(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[tuple[str, str]] = []
    real = {name: getattr(os, name) for name in ("write", "fsync", "rename")}

    def where(descriptor: int) -> str:
        return os.readlink(f"/proc/self/fd/{descriptor}")

    def write(descriptor: int, data: bytes) -> int:
        log.append(("write", where(descriptor)))
        return int(real["write"](descriptor, data))

    def fsync(descriptor: int) -> None:
        log.append(("fsync", where(descriptor)))
        real["fsync"](descriptor)

    def rename(old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        log.append(("from", f"{where(src_dir_fd)}/{old}"))
        log.append(("rename", f"{where(dst_dir_fd)}/{new}"))
        real["rename"](old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    for call in (write, fsync, rename):
        monkeypatch.setattr(os, call.__name__, call)
    with undo.begin(state(root), watch=[f"{root}/etc/conf"], root=str(root)) as journal:
        files.put_file(f"{root}/etc/conf", b"new")
        journal.commit(json.dumps({"tx": journal.tx}).encode())

    commit = log.index(("rename", state(root) + "/record.json"))
    for at, (what, path) in enumerate(log):
        if what == "from":
            last_write = max(i for i, line in enumerate(log[:at]) if line == ("write", path))
            assert ("fsync", path) in log[last_write:at], path
        if what == "rename":
            assert ("fsync", os.path.dirname(path)) in log[at : commit if at < commit else None], path


def test_what_a_tool_wrote_is_flushed_when_asked_and_links_are_left(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    target, link = root / "etc/by-a-tool", root / "etc/link"
    target.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("by-a-tool")
    with undo.begin(state(root), watch=["/etc/by-a-tool", "/etc/link", "/etc/absent"], root=str(root)) as journal:
        target.write_text("as vtl leaves it")
        monkeypatch.setattr(os, "fsync", fsync)
        journal.flush_files()
        monkeypatch.undo()
        assert flushed == [str(target)]
        journal.commit(b'{"tx": "' + journal.tx.encode() + b'"}')
