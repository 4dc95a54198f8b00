"""Knows how to replace, mend and remove a file so that anybody looking sees the old one or the new one, never half.

All through the folder's descriptor: temp beside the target, fsync, rename, fsync of the folder. Names of temporaries
are `.hsm-enrol.` and eight hex digits; the target's own name is not in them, it may already be 255 bytes long.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from hsm_enrol.errors import CannotTell
from hsm_enrol.host.folders import errno_name, open_folder, writing
from hsm_enrol.host.looks import ACL, Looks, looks_at, looks_of, open_regular, read_at_most, read_xattrs, set_looks
from hsm_enrol.host.removal import OURS, drop_file, remove_file, sweep, wipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal

    Flush = Literal["all", "file", "nothing"]

__all__ = [
    "ACL",
    "OURS",
    "Looks",
    "drop_file",
    "fsync_file",
    "fsync_folder",
    "link_at",
    "looks_at",
    "looks_of",
    "make_folder",
    "make_temp",
    "open_regular",
    "put_file",
    "put_link",
    "read_at_most",
    "read_file",
    "read_xattrs",
    "remove_file",
    "set_looks",
    "set_mode",
    "sweep",
    "wipe",
]


def put_file(
    path: str,
    content: bytes,
    *,
    mode: int = 0o600,
    uid: int | None = None,
    gid: int | None = None,
    xattrs: Mapping[str, bytes] | None = None,
    root: str = "",
    private: bool = False,
    guard: Callable[[], None] | None = None,
    flush: Flush = "all",
) -> None:
    """Replace or make the regular file `path` with exactly these bytes, permission bits and owner.

    `uid`, `gid`: None is our own. `xattrs`: None keeps those of the file that is replaced. `private`: the folder must
    not be writable by its group. `guard` is called right before the rename and may raise to leave all as it was.
    `flush`: with "file" a power cut may bring the old file back until somebody flushes the folder, with "nothing" it
    may leave anything; that is for /run, of which it leaves nothing anyway.
    Raises CannotWrite, UnsafeFolder, UnsafeFile (a link, or nothing a rename may replace).
    """
    name = os.path.basename(path)
    with writing(path), open_folder(os.path.dirname(path), root, private=private) as folder:
        old = looks_at(folder, name, path)
        keep = xattrs if xattrs is not None else old.xattrs if old else {}
        looks = Looks(
            mode=mode,
            uid=os.geteuid() if uid is None else uid,
            gid=os.getegid() if gid is None else gid,
            xattrs=keep,
        )
        temp = make_temp(folder, content, looks, flush=flush != "nothing")
        try:
            if guard:
                guard()
            os.rename(temp, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                wipe(folder, temp)
            raise
        if flush == "all":
            os.fsync(folder)


def make_temp(folder: int, content: bytes, looks: Looks, *, flush: bool = True) -> str:
    """Write a new file under a name of ours in `folder`, looking as told and, by `flush`, safe on disk; give its name.

    O_EXCL and O_NOFOLLOW: whatever is already there under that name is not ours to write to. Raises OSError, and then
    leaves nothing.
    """
    name = ".hsm-enrol." + secrets.token_hex(4)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            set_looks(descriptor, looks)
            if flush:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        with suppress(OSError):
            wipe(folder, name)
        raise
    return name


def set_mode(path: str, *, mode: int, uid: int, gid: int, root: str = "") -> None:
    """Mend permission bits and owner by descriptor; the bytes are not touched. Raises CannotWrite, UnsafeFile."""
    with writing(path), open_folder(os.path.dirname(path), root) as folder:
        descriptor = open_regular(folder, os.path.basename(path), path)
        if descriptor is None:
            raise FileNotFoundError(errno.ENOENT, "gone", path)
        try:
            set_looks(descriptor, Looks(mode=mode, uid=uid, gid=gid))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folder(path: str, *, root: str = "", mode: int = 0o755) -> None:
    """Make one folder of ours, inside an existing one; already there is fine. Raises as put_file does."""
    with writing(path), open_folder(os.path.dirname(path), root) as parent:
        name = os.path.basename(path)
        with suppress(FileExistsError):
            os.mkdir(name, mode, dir_fd=parent)
            descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            try:
                os.fchmod(descriptor, mode)  # whatever our umask is
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.fsync(parent)


def put_link(path: str, to: str, *, root: str = "") -> None:
    """Make `path` a symbolic link to `to`, by a rename; one that is there already is left. Raises as put_file does."""
    with writing(path), open_folder(os.path.dirname(path), root) as folder:
        link_at(folder, os.path.basename(path), to)
        os.fsync(folder)


def link_at(folder: int, name: str, to: str) -> None:
    """Do the same in an open folder. Raises OSError, and then leaves nothing."""
    with suppress(OSError):  # not a link, or gone
        if os.readlink(name, dir_fd=folder) == to:
            return
    temp = ".hsm-enrol." + secrets.token_hex(4)
    os.symlink(to, temp, dir_fd=folder)
    try:
        os.rename(temp, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(temp, dir_fd=folder)
        raise


def fsync_folder(path: str, *, root: str = "") -> None:
    """Make the names in a folder safe on disk. Raises CannotWrite, UnsafeFolder."""
    with writing(path), open_folder(path, root) as folder:
        os.fsync(folder)


def fsync_file(path: str, *, root: str = "") -> None:
    """Make a file that somebody else wrote safe on disk; nothing there is fine. Raises CannotWrite, UnsafeFile."""
    with writing(path), open_folder(os.path.dirname(path), root) as folder:
        descriptor = open_regular(folder, os.path.basename(path), path)
        if descriptor is not None:
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def read_file(path: str, *, limit: int = 1 << 20, root: str = "") -> bytes | None:
    """Read a small regular file of ours; None when it is not there. Raises CannotTell, UnsafeFile."""
    try:
        with open_folder(os.path.dirname(path), root) as folder:
            descriptor = open_regular(folder, os.path.basename(path), path)
            if descriptor is None:
                return None
            with open(descriptor, "rb") as file:
                content = read_at_most(file, limit)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CannotTell(path=path, error=errno_name(error)) from error
    if len(content) > limit:
        raise CannotTell(path=path, error="EFBIG")
    return content
