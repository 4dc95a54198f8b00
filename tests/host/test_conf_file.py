"""The conf behind its links: replaced where it is, never over another writer's work, links put back after a tool."""

import os
from pathlib import Path

import pytest

from hsm_enrol.errors import CannotTell, ClientMissing, UnsafeFile
from hsm_enrol.host import files
from hsm_enrol.host.conf_file import Moved, read_conf, rewrite_conf, write_conf


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "etc").mkdir()
    (tmp_path / "opt/luna").mkdir(parents=True)
    (tmp_path / "opt/luna/real.conf").write_bytes(b"caf\xe9 = 1;\n")
    (tmp_path / "opt/luna/real.conf").chmod(0o640)
    os.chown(tmp_path / "opt/luna/real.conf", 0, 12)
    os.setxattr(tmp_path / "opt/luna/real.conf", "user.note", b"kept")
    (tmp_path / "opt/luna/second.conf").symlink_to("real.conf")
    (tmp_path / "etc/Chrystoki.conf").symlink_to("/opt/luna/second.conf")
    return str(tmp_path)


def test_the_file_at_the_end_of_the_links_is_replaced_with_its_looks(root: str) -> None:
    read = read_conf("/etc/Chrystoki.conf", root)
    write_conf(read, read.text + "more\n", root)
    real = Path(root, "opt/luna/real.conf")
    assert real.read_bytes() == b"caf\xe9 = 1;\nmore\n"
    assert (real.stat().st_mode & 0o7777, real.stat().st_gid) == (0o640, 12)
    assert os.getxattr(real, "user.note") == b"kept"
    assert os.readlink(f"{root}/etc/Chrystoki.conf") == "/opt/luna/second.conf"
    assert not [name for name in os.listdir(f"{root}/opt/luna") if files.OURS.match(name)]


@pytest.mark.parametrize("writer", ["in place", "by rename", "same bytes by rename", "link exchanged", "touched"])
def test_another_writer_between_reading_and_the_rename_is_noticed(root: str, writer: str) -> None:
    read = read_conf("/etc/Chrystoki.conf", root)
    real = Path(root, "opt/luna/real.conf")
    if writer == "in place":
        real.write_bytes(b"theirs\n")
    elif writer == "by rename":
        files.put_file(str(real), b"theirs\n")
    elif writer == "same bytes by rename":
        files.put_file(str(real), real.read_bytes())
    elif writer == "touched":
        os.utime(real, ns=(0, 0))
    else:
        Path(root, "opt/luna/other.conf").write_bytes(b"theirs\n")
        files.put_link(f"{root}/opt/luna/second.conf", "other.conf")
    theirs = read_conf("/etc/Chrystoki.conf", root)
    with pytest.raises(Moved):
        write_conf(read, "ours\n", root)
    assert read_conf("/etc/Chrystoki.conf", root) == theirs


def test_links_that_a_tool_made_files_of_are_links_again(root: str) -> None:
    read = read_conf("/etc/Chrystoki.conf", root)
    for name in ("etc/Chrystoki.conf", "opt/luna/second.conf"):
        Path(root, name).unlink()
        Path(root, name).write_bytes(b"tool\n")
    rewrite_conf(read, "replayed\n", root)
    again = read_conf("/etc/Chrystoki.conf", root)
    assert again.trail == read.trail
    assert again.looks == read.looks
    assert again.text == "replayed\n"


def test_no_conf_is_a_missing_client(root: str) -> None:
    os.unlink(f"{root}/opt/luna/real.conf")
    for path in ("/etc/Chrystoki.conf", "/etc/none.conf", "/nowhere/none.conf"):
        with pytest.raises(ClientMissing):
            read_conf(path, root)


def test_a_conf_that_cannot_be_one_is_refused(root: str) -> None:
    Path(root, "opt/luna/real.conf").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(CannotTell):
        read_conf("/etc/Chrystoki.conf", root)
    os.unlink(f"{root}/opt/luna/real.conf")
    os.mkfifo(f"{root}/opt/luna/real.conf")
    with pytest.raises(UnsafeFile):
        read_conf("/etc/Chrystoki.conf", root)
