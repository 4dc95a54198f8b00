"""Carrying out steps: only what is watched, only on the host that was looked at, and a tool's rewriting in bounds."""

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hsm_enrol.errors import Internal, Interrupted, NotUnderstood, ToolDamage, UnsafeFolder
from hsm_enrol.host import files, undo
from hsm_enrol.host.act import Bench, Hand, pin_state
from hsm_enrol.host.conf_file import Moved
from hsm_enrol.host.observe import look, missing_folders
from hsm_enrol.host.tools import ToolRun
from hsm_enrol.model import Change, EditConf, PutFile, RunTool, Seen, SetMode

CONF = "# ours\nA = 1\nServerName00 = a\n"
WATCHED = ("/etc/Chrystoki.conf", "/etc/real.conf", "/opt/server", "/opt/server/ca", "/opt/key", "/etc/fine")


def pairs(text: str) -> dict[str, str]:
    """A conf of one section for these tests: `key = value` lines; anything else is not understood."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            key, equals, value = line.partition(" = ")
            if not equals:
                raise NotUnderstood(path="/etc/Chrystoki.conf", line=1, what="odd")
            found[key] = value
    return found


def between(old: str, new: str) -> tuple[Change, ...]:
    was, now = pairs(old), pairs(new)
    keys = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    return tuple(Change(section="S", key=key, old=was.get(key), new=now.get(key)) for key in keys)


def with_changes(text: str, changes: tuple[Change, ...]) -> str:
    lines = text.splitlines()
    for change in changes:
        lines = [line for line in lines if not line.startswith(change.key + " = ")]
        lines += [] if change.new is None else [f"{change.key} = {change.new}"]
    return "\n".join(lines) + "\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("etc", "opt/bin", "var/lib"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/real.conf").write_text(CONF)
    (tmp_path / "etc/Chrystoki.conf").symlink_to("real.conf")
    (tmp_path / "etc/fine").write_bytes(b"fine")
    return tmp_path


@pytest.fixture
def hand(root: Path) -> Iterator[Hand]:
    with undo.begin("/var/lib/hsm-enrol", watch=WATCHED, root=str(root)) as journal:
        yield Hand(
            root=str(root),
            conf="/etc/Chrystoki.conf",
            journal=journal,
            with_changes=with_changes,
            changes_between=between,
        )
    assert (root / "etc/real.conf").read_text() == CONF
    assert os.readlink(root / "etc/Chrystoki.conf") == "real.conf"
    assert not (root / "opt/server").exists()


def seen(root: Path) -> Seen:
    paths = {path: look(path, str(root)) for path in (*WATCHED, "/etc/unwatched")}
    return Seen(conf=look("/etc/Chrystoki.conf", str(root), links=True), files=paths, uid=0, gid=0, key_gid=None)


def put(path: str, content: bytes = b"x", *, secret: bool = False) -> PutFile:
    return PutFile(path=path, content=content, mode=0o640, uid=0, gid=12, secret=secret)


def edit(new: str) -> EditConf:
    return EditConf(path="/etc/Chrystoki.conf", changes=(Change(section="S", key="A", old="1", new=new),))


def test_files_are_put_their_folder_made_the_conf_edited_the_mode_mended(root: Path, hand: Hand) -> None:
    before = seen(root)
    assert missing_folders(["/opt/server/ca"], str(root)) == ("/opt/server",)
    hand.carry_out(put("/opt/server/ca"), before)
    hand.carry_out(edit("2"), before)
    hand.carry_out(SetMode(path="/etc/fine", mode=0o600, uid=0, gid=0), before)
    assert (root / "opt/server/ca").read_bytes() == b"x"
    assert "A = 2" in (root / "etc/real.conf").read_text()
    assert (root / "etc/fine").stat().st_mode & 0o7777 == 0o600


def test_a_step_on_something_unwatched_is_a_bug_found_before_writing(root: Path, hand: Hand) -> None:
    with pytest.raises(Internal):
        hand.carry_out(put("/etc/unwatched"), seen(root))
    assert not (root / "etc/unwatched").exists()


def test_a_host_that_changed_since_it_was_looked_at_is_looked_at_again(root: Path, hand: Hand) -> None:
    before = seen(root)
    files.put_file(str(root / "opt/key"), b"theirs")
    with pytest.raises(Moved):
        hand.carry_out(put("/opt/key"), before)
    (root / "etc/real.conf").write_text(CONF + "B = 9\n")
    with pytest.raises(Moved):
        hand.carry_out(edit("2"), before)
    assert (root / "opt/key").read_bytes() == b"theirs"


def test_a_key_does_not_go_into_a_folder_that_a_group_can_write(root: Path, hand: Hand) -> None:
    (root / "opt").chmod(0o775)
    with pytest.raises(UnsafeFolder):
        hand.carry_out(put("/opt/key", secret=True), seen(root))


def bench(root: Path, *, stop: Callable[[], bool] = lambda: False) -> Bench:
    return Bench(
        root=str(root),
        prefix="/opt",
        timeout=20,
        env_conf=None,
        lock_fd=None,
        existing_objects="quit",
        stop=stop,
        question=lambda _: None,
        may_change=lambda change, step: change.key.startswith(step.may_change[0][1]),
        lost=lambda _old, _new: 0,
    )


ADD = RunTool(tool="vtl", words=("addServer", "-n", "b", "-c", "/x"), may_change=(("S", "Server"),))


def vtl(root: Path, text: str, *, replace_link: bool = False) -> None:
    conf = root / "etc/Chrystoki.conf"
    (root / "opt/bin/vtl").write_text(
        f"#!{sys.executable} -I\n"
        + textwrap.dedent(f"""
        import os
        if {replace_link}:
            os.unlink({str(conf)!r})
        open({str(conf)!r}, "w").write({text!r})
        print("added")
        """)
    )
    (root / "opt/bin/vtl").chmod(0o755)


@pytest.mark.parametrize("replace_link", [False, True])
def test_what_a_tool_added_is_replayed_and_its_rewriting_forgotten(
    root: Path, hand: Hand, *, replace_link: bool
) -> None:
    vtl(root, "ServerName01 = b\nServerName00 = a\nA = 1\n", replace_link=replace_link)
    ran = hand.tool(ADD, bench(root))
    assert (ran.status, ran.output) == (0, "added\n")
    assert (root / "etc/real.conf").read_text() == CONF + "ServerName01 = b\n"
    assert os.readlink(root / "etc/Chrystoki.conf") == "real.conf"


@pytest.mark.parametrize("text", ["# ours\nA = 2\n", "ServerName00 = a\n", "garbage", ""])
def test_a_tool_that_changed_a_foreign_key_or_left_half_a_file_is_damage(root: Path, hand: Hand, text: str) -> None:
    vtl(root, text)
    with pytest.raises(ToolDamage) as caught:
        hand.tool(ADD, bench(root))
    assert caught.value.facts["command"] == "addServer"


def test_a_stop_ends_the_tool_and_the_run(root: Path, hand: Hand) -> None:
    (root / "opt/bin/vtl").write_text(f"#!{sys.executable} -I\nimport signal\nsignal.pause()\n")
    (root / "opt/bin/vtl").chmod(0o755)
    with pytest.raises(Interrupted):
        hand.tool(ADD, bench(root, stop=lambda: True))


def test_a_command_is_named_without_its_values() -> None:
    assert Bench.verb(RunTool(tool="vtl", words=("haAdmin", "newGroup", "-label", "g"))) == "haAdmin newGroup"
    assert Bench.verb(RunTool(tool="vtl", words=("verify",))) == "verify"
    assert (
        Bench.verb(RunTool(tool="lunacm", words=("-q", "hagroup", "addMember", "-group", "g")))
        == "-q hagroup addMember"
    )


@pytest.mark.parametrize(
    ("sent", "done", "refused", "state"),
    [
        (False, True, True, "as it was"),
        (True, True, False, "accepted"),
        (True, False, True, "refused"),
        (True, True, True, "refused"),
        (True, False, False, "tried"),
    ],
)
def test_what_is_known_of_a_pin_afterwards(*, sent: bool, done: bool, refused: bool, state: str) -> None:
    ran = ToolRun(status=0, output="", pin_sent=sent)
    assert pin_state("as it was", ran, done=done, refused=refused) == state


@pytest.mark.parametrize(
    ("ran", "refused", "state"),
    [
        (ToolRun(status=0, output="", pin_sent=True, let_in=True), False, "accepted"),
        (ToolRun(status=1, output="", pin_sent=True, let_in=True), False, "accepted"),
        (ToolRun(status=0, output="", pin_sent=True, let_in=True), True, "refused"),
        (ToolRun(status=None, output="", pin_sent=True, let_in=True), False, "tried"),
        (ToolRun(status=0, output="", pin_sent=True, let_in=True, asked_again=True), False, "tried"),
    ],
)
def test_a_tool_that_was_let_in_proves_the_pin_though_it_did_nothing(
    ran: ToolRun, *, refused: bool, state: str
) -> None:
    assert pin_state("as it was", ran, done=False, refused=refused) == state
