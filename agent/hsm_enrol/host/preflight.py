"""Knows what would stop a file from being replaced, and finds out before anything is sent or changed."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import re
from typing import TYPE_CHECKING

from hsm_enrol.errors import CannotWrite, UnsafeFile
from hsm_enrol.host.files import Looks, make_temp, open_regular
from hsm_enrol.host.folders import errno_name, open_folder, real_path

if TYPE_CHECKING:
    from collections.abc import Iterable

FS_IOC_GETFLAGS = 0x80086601 if array.array("l").itemsize == 8 else 0x80046601  # noqa: PLR2004  bytes in a C long
FS_IMMUTABLE_FL, FS_APPEND_FL = 0x10, 0x20
_OCTAL = re.compile(r"\\([0-7]{3})")


def preflight(paths: Iterable[str], *, root: str = "", private: Iterable[str] = (), room: int = 64 * 1024) -> None:
    """Prove that each path can be replaced or made: a temporary of `room` bytes is written beside it and removed.

    It is not flushed: room is set aside when it is written, and a disk that is broken shows itself to the journal.
    A folder that is itself still to be made is proven by the nearest one that exists. `private` paths want a folder
    that its group cannot write. Raises CannotWrite (read-only, full), UnsafeFolder, UnsafeFile (a link, a second hard
    link, immutable, a mount point).
    """
    points, tried, private = mount_points(), set(), set(private)
    for path in paths:
        real = real_path(path, root)
        folder = os.path.dirname(real)
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        try:
            with open_folder(folder, root, private=path in private) as descriptor:
                if folder == os.path.dirname(real):
                    _look_at_target(descriptor, path, mounted=real in points)
                if folder not in tried:
                    looks = Looks(mode=0o600, uid=os.geteuid(), gid=os.getegid())
                    trial = make_temp(descriptor, bytes(room), looks, flush=False)
                    os.unlink(trial, dir_fd=descriptor)  # zeros need no wiping
                    tried.add(folder)
        except OSError as error:
            raise CannotWrite(path=path, error=errno_name(error)) from error


def _look_at_target(folder: int, path: str, *, mounted: bool) -> None:
    descriptor = open_regular(folder, os.path.basename(path), path)
    if descriptor is None:
        return
    try:
        if os.fstat(descriptor).st_nlink > 1:
            raise UnsafeFile(path=path, what="one of several hard links")
        if file_flags(descriptor) & (FS_IMMUTABLE_FL | FS_APPEND_FL):
            raise UnsafeFile(path=path, what="immutable or append-only (see lsattr)")
    finally:
        os.close(descriptor)
    if mounted:
        raise UnsafeFile(path=path, what="a mount point of its own (mount its folder instead)")


def file_flags(descriptor: int) -> int:
    """Read a file's inode flags; 0 where the file system has none."""
    flags = array.array("i", [0])
    try:
        fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, flags, True)  # noqa: FBT003  the argument's only name is mutate_flag
    except OSError as error:
        if error.errno in {errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}:
            return 0
        raise
    return flags[0]


def mount_points() -> frozenset[str]:
    """Read where anything is mounted in our namespace. A file mounted on a file is seen here only, not in st_dev."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            fields = [line.split(" ") for line in table]
    except OSError:
        return frozenset()  # no /proc, no answer: the rename itself will say EBUSY, and be undone
    return frozenset(_OCTAL.sub(lambda found: chr(int(found[1], 8)), row[4]) for row in fields)
