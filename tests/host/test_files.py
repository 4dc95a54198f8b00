"""Files on the real file system: replaced whole, never through a link, and with everything they had."""

import errno
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hsm_enrol.errors import Busy, CannotWrite, EnrolError, UnsafeFile, UnsafeFolder
from hsm_enrol.host import files, preflight
from hsm_enrol.host.folders import follow, open_folder, real_path
from hsm_enrol.host.lock import Lock


def litter(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if files.OURS.match(name)]


def test_a_new_file_has_the_mode_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o277)
    try:
        files.put_file(str(tmp_path / "a"), b"one", mode=0o644)
    finally:
        os.umask(old)
    assert (tmp_path / "a").read_bytes() == b"one"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644
    assert litter(tmp_path) == []


def acl(mask: int) -> bytes:
    """Give acl(5) as the kernel stores it: owner rw, user 1234 r, group r, a mask, others nothing."""
    entries = ((1, 6, -1), (2, 4, 1234), (4, 4, -1), (16, mask, -1), (32, 0, -1))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def test_a_replaced_file_keeps_its_attributes_and_acl(tmp_path: Path) -> None:
    target = tmp_path / "Chrystoki.conf"
    target.write_bytes(b"old")
    os.setxattr(target, "user.note", b"kept")
    os.setxattr(target, "system.posix_acl_access", acl(4))
    files.put_file(str(target), b"new", mode=0o640, uid=0, gid=12)
    assert target.read_bytes() == b"new"
    assert os.getxattr(target, "user.note") == b"kept"
    assert os.getxattr(target, "system.posix_acl_access") == acl(4)
    assert (target.stat().st_mode & 0o7777, target.stat().st_uid, target.stat().st_gid) == (0o640, 0, 12)


# Root as it is in our units: CAP_CHOWN and nothing else, so what a file is given has to be given while it is ours.
IN_THE_UNIT = ["setpriv", "--bounding-set=-all,+chown", "--inh-caps=-all", sys.executable, "-c"]
REPLACE_AND_KEEP = """
import sys
from hsm_enrol.host import files
from hsm_enrol.host.keep import keep
path = sys.argv[1]
print(keep(path, "").to)
files.put_file(path, b"new", mode=int(sys.argv[2], 8), uid=1234, gid=1235)
"""


@pytest.mark.parametrize("mode", [0o644, 0o444])
def test_in_the_units_sandbox_a_file_of_another_owner_keeps_its_looks(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "siteCert.pem"
    target.write_bytes(b"old")
    os.setxattr(target, "user.note", b"kept")
    os.setxattr(target, "system.posix_acl_access", acl(4))
    target.chmod(mode)
    entries = os.getxattr(target, "system.posix_acl_access")
    os.chown(target, 1234, 1235)
    argv = [*IN_THE_UNIT, REPLACE_AND_KEEP, str(target), oct(mode)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    for place, content in ((target, b"new"), (Path(done.stdout.strip()), b"old")):
        assert place.read_bytes() == content
        status = place.stat()
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (mode, 1234, 1235)
        assert os.getxattr(place, "user.note") == b"kept"
        assert os.getxattr(place, "system.posix_acl_access") == entries


def test_a_file_is_never_opened_to_another_group_than_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with set-group-id a new file is of the folder's group to begin with."""
    os.chown(tmp_path, 0, 1235)
    tmp_path.chmod(0o2755)
    looks, seen = files.Looks(mode=0o640, uid=1234, gid=1236, xattrs={"system.posix_acl_access": acl(4)}), []

    def noting(act: Callable[..., None]) -> Callable[..., None]:
        def noted(descriptor: int, *words: object) -> None:
            act(descriptor, *words)
            seen.append((os.fstat(descriptor).st_gid, os.fstat(descriptor).st_mode & 0o077))

        return noted

    for act in ("fchown", "fchmod", "setxattr"):
        monkeypatch.setattr(os, act, noting(getattr(os, act)))
    with open_folder(str(tmp_path)) as folder:
        name = files.make_temp(folder, b"a key", looks)
    status = (tmp_path / name).stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o640, 1234, 1236)
    assert seen[-1] == (1236, 0o040)
    assert [group for group, bits in seen if bits and group != 1236] == []


def test_the_mode_asked_for_wins_over_an_old_acls_mask(tmp_path: Path) -> None:
    target = tmp_path / "key.pem"
    target.write_bytes(b"old")
    os.setxattr(target, "system.posix_acl_access", acl(6))
    files.put_file(str(target), b"new", mode=0o640)
    assert target.stat().st_mode & 0o7777 == 0o640


def test_a_name_of_255_bytes_can_be_replaced(tmp_path: Path) -> None:
    files.put_file(str(tmp_path / ("x" * 255)), b"1")
    files.put_file(str(tmp_path / ("x" * 255)), b"2")
    assert (tmp_path / ("x" * 255)).read_bytes() == b"2"


def test_a_link_in_the_targets_place_is_refused_and_its_aim_untouched(tmp_path: Path) -> None:
    (tmp_path / "aim").write_bytes(b"aim")
    (tmp_path / "link").symlink_to("aim")
    link = str(tmp_path / "link")
    with pytest.raises(UnsafeFile):
        files.put_file(link, b"x")
    with pytest.raises(UnsafeFile):
        files.set_mode(link, mode=0o777, uid=0, gid=0)
    with pytest.raises(UnsafeFile):
        files.drop_file(link)
    with pytest.raises(UnsafeFile):
        preflight.preflight([link])
    assert (tmp_path / "aim").read_bytes() == b"aim"
    assert stat.S_IMODE((tmp_path / "aim").stat().st_mode) != 0o777
    assert litter(tmp_path) == []


def test_a_temporary_planted_by_somebody_else_is_never_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "victim").write_bytes(b"victim")
    (tmp_path / ".hsm-enrol.00000000").symlink_to("victim")
    monkeypatch.setattr("secrets.token_hex", lambda _: "00000000")
    with pytest.raises(CannotWrite) as caught:
        files.put_file(str(tmp_path / "a"), b"secret")
    assert caught.value.facts["error"] == "EEXIST"
    assert (tmp_path / "victim").read_bytes() == b"victim"


@pytest.mark.parametrize("mode", [0o757, 0o702])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "open" / "inner"
    folder.mkdir(parents=True)
    folder.parent.chmod(mode)
    with pytest.raises(UnsafeFolder):
        files.put_file(str(folder / "a"), b"x")
    folder.parent.chmod(0o1777)
    files.put_file(str(folder / "a"), b"x")


def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 1234, 0)
    with pytest.raises(UnsafeFolder):
        files.put_file(str(tmp_path / "theirs" / "a"), b"x")
    with pytest.raises(UnsafeFolder):
        preflight.preflight([str(tmp_path / "theirs" / "a")])


def test_a_group_writable_folder_will_do_for_a_certificate_but_not_for_a_key(tmp_path: Path) -> None:
    (tmp_path / "client").mkdir()
    (tmp_path / "client").chmod(0o775)
    files.put_file(str(tmp_path / "client" / "cert"), b"x")
    with pytest.raises(UnsafeFolder):
        files.put_file(str(tmp_path / "client" / "key"), b"x", private=True)


def test_a_chain_of_links_is_followed_under_root_and_absolute_ones_start_again_there(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "opt/luna/etc").mkdir(parents=True)
    (root / "etc/Chrystoki.conf").symlink_to("/opt/luna/conf")
    (root / "opt/luna/conf").symlink_to("etc/../etc/real.conf")
    trail = follow(f"{root}/etc/Chrystoki.conf", str(root))
    assert trail.path == f"{root}/opt/luna/etc/real.conf"
    assert [(link.path, link.to) for link in trail.links] == [
        (f"{root}/etc/Chrystoki.conf", "/opt/luna/conf"),
        (f"{root}/opt/luna/conf", "etc/../etc/real.conf"),
    ]


def test_links_cannot_climb_out_of_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/up").symlink_to("../../../../../../etc/passwd")
    assert follow(f"{root}/etc/up", str(root)).path == f"{root}/etc/passwd"
    (root / "lib").symlink_to("/etc")
    assert real_path(f"{root}/lib/x", str(root)) == f"{root}/etc/x"


def test_a_loop_of_links_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UnsafeFile):
        follow(str(tmp_path / "a"))


def test_a_link_where_somebody_else_can_exchange_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "real.conf").write_bytes(b"")
    (tmp_path / "open/Chrystoki.conf").symlink_to(tmp_path / "real.conf")
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(UnsafeFolder):
        follow(str(tmp_path / "open/Chrystoki.conf"))


def test_a_dangling_link_leads_to_where_the_file_would_be(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("nowhere/b")
    assert follow(str(tmp_path / "a")).path == str(tmp_path / "nowhere/b")


def test_preflight_refuses_a_second_hard_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    os.link(tmp_path / "a", tmp_path / "b")
    with pytest.raises(UnsafeFile) as caught:
        preflight.preflight([str(tmp_path / "a")])
    assert "hard link" in str(caught.value.facts["what"])


def test_preflight_refuses_an_immutable_file(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"")
    subprocess.run(["chattr", "+i", str(target)], check=True)
    try:
        with pytest.raises(UnsafeFile) as caught:
            preflight.preflight([str(target)])
        assert "lsattr" in str(caught.value.facts["what"])
        with pytest.raises(CannotWrite) as refused:
            files.put_file(str(target), b"x")
        assert refused.value.facts["error"] == "EPERM"
    finally:
        subprocess.run(["chattr", "-i", str(target)], check=True)
    assert litter(tmp_path) == []


IN_A_NAMESPACE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def must(result): assert result == 0, os.strerror(ctypes.get_errno())
must(libc.unshare(0x00020000))                                        # CLONE_NEWNS
must(libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None))         # MS_REC | MS_PRIVATE
folder = sys.argv[1].encode()
from hsm_enrol.errors import CannotWrite, UnsafeFile
from hsm_enrol.host import files, preflight
must(libc.mount(folder + b"/other", folder + b"/with blank", None, 4096, None))   # MS_BIND of a file
try:
    preflight.preflight([sys.argv[1] + "/with blank"])
except UnsafeFile as error:
    print(error.facts["what"])
must(libc.mount(b"tmpfs", folder + b"/small", b"tmpfs", 0, b"size=16k,mode=755"))
try:
    preflight.preflight([sys.argv[1] + "/small/a"])
except CannotWrite as error:
    print(error.facts["error"], os.listdir(folder + b"/small"))
must(libc.mount(b"tmpfs", folder + b"/small", None, 32 | 1, None))    # MS_REMOUNT | MS_RDONLY
try:
    preflight.preflight([sys.argv[1] + "/small/a"])
except CannotWrite as error:
    print(error.facts["error"])
"""


def test_preflight_meets_bind_mounts_full_and_read_only_file_systems(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"")
    (tmp_path / "with blank").write_bytes(b"")
    (tmp_path / "small").mkdir()
    run = subprocess.run(
        [sys.executable, "-c", IN_A_NAMESPACE, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert run.stdout.splitlines() == [
        "a mount point of its own (mount its folder instead)",
        "ENOSPC []",
        "EROFS",
    ], run.stderr


def test_preflight_of_a_folder_still_to_be_made_tries_the_one_above(tmp_path: Path) -> None:
    preflight.preflight([str(tmp_path / "cert/server/CAFile.pem")])
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(CannotWrite):
        files.put_file(str(tmp_path / "a"), b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert litter(tmp_path) == []


def test_a_guard_that_objects_leaves_everything_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")

    class Moved(Exception):
        pass

    def guard() -> None:
        raise Moved

    with pytest.raises(Moved):
        files.put_file(str(tmp_path / "a"), b"new", guard=guard)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert litter(tmp_path) == []


def test_a_dropped_secret_is_overwritten_before_its_name_goes(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"secret" * 100_000)
    with (tmp_path / "key").open("rb") as held:
        files.drop_file(str(tmp_path / "key"))
        assert held.read() == bytes(600_000)
    assert os.listdir(tmp_path) == []
    files.drop_file(str(tmp_path / "key"))
    files.drop_file(str(tmp_path / "no such folder" / "key"))


def test_the_zeros_are_on_the_disk_before_a_secrets_name_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"secret")
    flushed: list[tuple[object, bool]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        there = Path(f"/proc/self/fd/{descriptor}")
        flushed.append((there.read_bytes() if there.is_file() else there.resolve(), key.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    files.drop_file(str(key))
    assert flushed == [(bytes(6), True), (tmp_path, False)]


def test_what_has_a_second_name_is_somebody_elses_and_keeps_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"theirs")
    (tmp_path / "key").hardlink_to(tmp_path / "theirs")
    files.remove_file(str(tmp_path / "key"))
    (tmp_path / ".hsm-enrol.0123abcd").hardlink_to(tmp_path / "theirs")
    assert files.sweep(str(tmp_path)) == 1
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"theirs": b"theirs"}


def test_a_file_without_a_secret_goes_under_root_and_a_link_does_without_its_aim(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "aim").write_bytes(b"kept")
    (tmp_path / "etc" / "link").symlink_to("aim")
    for name in ("/etc/link", "/etc/link", "/etc/aim/below", "/no/such/folder"):
        files.remove_file(name, root=str(tmp_path))
    assert [one.name for one in (tmp_path / "etc").iterdir()] == ["aim"]


@pytest.mark.parametrize("aim", ["nowhere", "kept", "folder"])
def test_the_sweep_takes_a_link_of_ours_wherever_it_leads(tmp_path: Path, aim: str) -> None:
    (tmp_path / "kept").write_bytes(b"kept")
    (tmp_path / "folder").mkdir()
    (tmp_path / ".hsm-enrol.00000001").symlink_to(aim)
    (tmp_path / ".hsm-enrol.00000002").write_bytes(b"litter")
    assert files.sweep(str(tmp_path)) == 2
    assert sorted(one.name for one in tmp_path.iterdir()) == ["folder", "kept"]
    assert (tmp_path / "kept").read_bytes() == b"kept"
    assert [files.sweep(str(tmp_path / name / "below")) for name in ("kept", "no such folder")] == [0, 0]


def test_the_sweep_takes_our_names_and_nothing_else(tmp_path: Path) -> None:
    for name in (".hsm-enrol.0123abcd", ".hsm-enrol.0123abc", ".hsm-enrol.0123abcd~", "hsm-enrol.0123abcd"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".hsm-enrol.00000001").mkdir()
    (tmp_path / ".hsm-enrol.00000002").write_bytes(b"")
    os.chown(tmp_path / ".hsm-enrol.00000002", 1234, 1234)
    assert files.sweep(str(tmp_path)) == 2  # the second is a copy of somebody's file, kept for an undo
    assert sorted(litter(tmp_path)) == [".hsm-enrol.00000001"]
    assert files.sweep(str(tmp_path / "nowhere")) == 0


def test_a_pipe_in_the_files_place_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsafeFile):
        files.read_file(str(tmp_path / "pipe"))
    with pytest.raises(UnsafeFile):
        files.put_file(str(tmp_path / "pipe"), b"")


def test_reading_gives_none_only_when_nothing_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 11)
    assert files.read_file(str(tmp_path / "none")) is None
    assert files.read_file(str(tmp_path / "a" / "none")) is None
    assert files.read_file(str(tmp_path / "a")) == b"x" * 11
    with pytest.raises(EnrolError) as caught:
        files.read_file(str(tmp_path / "a"), limit=10)
    assert caught.value.facts["error"] == "EFBIG"


def test_a_made_folder_is_0755_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        files.make_folder(str(tmp_path / "server"))
        files.make_folder(str(tmp_path / "server"))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "server").stat().st_mode) == 0o755


def test_a_made_folder_is_never_wider_than_asked_for_and_its_name_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, object]] = []
    real = os.fchmod, os.fsync

    def fchmod(descriptor: int, mode: int) -> None:
        seen.append(("made", stat.S_IMODE(os.fstat(descriptor).st_mode)))
        real[0](descriptor, mode)

    def fsync(descriptor: int) -> None:
        seen.append(("flushed", Path(f"/proc/self/fd/{descriptor}").resolve()))
        real[1](descriptor)

    monkeypatch.setattr(os, "fchmod", fchmod)
    monkeypatch.setattr(os, "fsync", fsync)
    old = os.umask(0)
    try:
        files.make_folder(str(tmp_path / "keys"), mode=0o700)
    finally:
        os.umask(old)
    assert seen == [("made", 0o700), ("flushed", tmp_path / "keys"), ("flushed", tmp_path)]


def test_a_mode_is_mended_under_root_and_the_bytes_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    target = tmp_path / "etc" / "key.pem"
    target.write_bytes(b"key")
    target.chmod(0o666)
    files.set_mode("/etc/key.pem", mode=0o640, uid=os.geteuid(), gid=12, root=str(tmp_path))
    assert (target.stat().st_mode & 0o7777, target.stat().st_gid, target.read_bytes()) == (0o640, 12, b"key")
    with pytest.raises(CannotWrite):
        files.set_mode("/etc/gone.pem", mode=0o640, uid=os.geteuid(), gid=12, root=str(tmp_path))


def test_a_link_is_put_in_one_step_under_root_and_once(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    link = tmp_path / "etc" / "Chrystoki.conf"
    link.write_bytes(b"a file")
    for to in ("first.conf", "second.conf"):
        files.put_link("/etc/Chrystoki.conf", to, root=str(tmp_path))
        assert os.readlink(link) == to
    before = link.lstat().st_ino
    files.put_link("/etc/Chrystoki.conf", "second.conf", root=str(tmp_path))
    assert link.lstat().st_ino == before
    assert litter(tmp_path / "etc") == []
    (tmp_path / "etc" / "folder").mkdir()
    with pytest.raises(CannotWrite):
        files.put_link("/etc/folder", "second.conf", root=str(tmp_path))
    assert litter(tmp_path / "etc") == []


def test_a_second_run_meets_busy(tmp_path: Path) -> None:
    path = str(tmp_path / "run" / "lock")
    with Lock(path), pytest.raises(Busy):
        Lock(path).__enter__()
    with Lock(path):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


@pytest.mark.parametrize("place", ["run/hsm-enrol/lock", "run", "link"])
def test_a_lock_that_cannot_be_made_is_told_with_its_path(tmp_path: Path, place: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "hsm-enrol").touch()
    (tmp_path / "link").symlink_to("elsewhere")
    with pytest.raises(CannotWrite) as caught:
        Lock(str(tmp_path / place)).__enter__()
    assert str(tmp_path / place) in caught.value.fault()
    assert not (tmp_path / "elsewhere").exists()


def test_an_heir_of_the_descriptor_keeps_the_lock_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with Lock(path) as held:
        heir = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(held.fileno(),))
    with pytest.raises(Busy):
        Lock(path).__enter__()
    heir.communicate()
    with Lock(path):
        pass


def test_descriptors_are_closed_whatever_happens(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnsafeFile):
        files.drop_file(str(tmp_path / "pipe"))
    with pytest.raises(OSError, match="none"), open_folder(str(tmp_path / "none")):
        pass
    files.put_file(str(tmp_path / "a"), b"x")
    files.sweep(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before
