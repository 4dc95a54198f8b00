"""What is stopped at every system call: a bare transaction, with a tool in it that writes in place."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hsm_enrol.host import files, undo
from hsm_enrol.host.folders import follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """How the tree is built, what happens in it, and what a next start does first."""

    build: Callable[[Path], None]
    act: Callable[[Path], None]
    recover: Callable[[Path], None]


def build_journal(root: Path) -> None:
    """Make a conf behind a link with everything a file can have, a CA file, a superseded key, an older record."""
    for folder in ("etc", "opt/cert/server", "opt/cert/client", "var/lib/hsm-enrol"):
        (root / folder).mkdir(parents=True)
    (root / "etc/real.conf").write_bytes(b"old conf\n" * 50)
    (root / "etc/real.conf").chmod(0o640)
    os.chown(root / "etc/real.conf", 0, 12)
    os.setxattr(root / "etc/real.conf", "user.note", b"kept")
    (root / "etc/Chrystoki.conf").symlink_to("real.conf")
    (root / "opt/cert/server/CAFile.pem").write_bytes(b"old CA file\n")
    (root / "opt/cert/client/old-Key.pem").write_bytes(b"old key\n")
    (root / "var/lib/hsm-enrol").chmod(0o700)
    (root / "var/lib/hsm-enrol/record.json").write_bytes(b'{"tx": "before"}')
    (root / "var/lib/hsm-enrol/record.json").chmod(0o600)


def act_journal(root: Path) -> None:
    """Change five paths, with a tool between them that writes in place and replaces the link by a file."""
    etc, cert, state = f"{root}/etc", f"{root}/opt/cert", f"{root}/var/lib/hsm-enrol"
    conf, link, key, mine = f"{etc}/real.conf", f"{etc}/Chrystoki.conf", f"{cert}/client/new-Key.pem", f"{cert}/mine"
    old = f"{cert}/client/old-Key.pem"
    undo.settle(state, root=str(root))
    watch = (link, conf, f"{cert}/server/CAFile.pem", mine, f"{mine}/a.pem", key)
    with undo.begin(state, watch=watch, drop=(old,), root=str(root), tx="this") as journal:
        files.put_file(key, b"new key\n", mode=0o640, gid=12, root=str(root), private=True)
        files.make_folder(mine, root=str(root))
        files.put_file(f"{mine}/a.pem", b"new\n", mode=0o644, root=str(root))
        files.put_file(f"{cert}/server/CAFile.pem", b"new CA file\n", mode=0o644, root=str(root))
        act_like_a_tool(conf, link)
        trail = follow(conf, str(root))
        files.put_file(
            trail.path, b"new conf\n" * 60, mode=0o640, gid=12, xattrs={"user.note": b"kept"}, root=str(root)
        )
        files.put_link(link, "real.conf", root=str(root))
        files.set_mode(conf, mode=0o644, uid=0, gid=12, root=str(root))
        journal.commit(b'{"tx": "this"}')


def act_like_a_tool(conf: str, link: str) -> None:
    """Truncate and rewrite in place, in pieces; then make a plain file of the link, as sed -i does. Never complain."""
    with suppress(OSError):
        descriptor = os.open(conf, os.O_WRONLY | os.O_TRUNC | os.O_CREAT)
        try:
            for piece in (b"tool's conf, ", b"piece by piece", b"\n"):
                os.write(descriptor, piece)
        finally:
            os.close(descriptor)
        os.unlink(link)
        os.close(os.open(link, os.O_WRONLY | os.O_CREAT))


def recover_journal(root: Path) -> None:
    """Do what every writing command does first."""
    undo.settle(f"{root}/var/lib/hsm-enrol", root=str(root))


JOURNAL = Story(build=build_journal, act=act_journal, recover=recover_journal)
