"""Knows what a file has beside its bytes, and how to open one without being led elsewhere."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import field
from typing import TYPE_CHECKING, BinaryIO

from hsm_enrol.errors import UnsafeFile
from hsm_enrol.shapes import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

ACL = "system.posix_acl_access"
PIECE = 64 * 1024  # bytes of one read: Python sets aside all that is asked for, which for a mebibyte takes longer
_IGNORED = {errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA}


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What a file has beside its bytes: permission bits, owner, and the extended attributes worth keeping."""

    mode: int
    uid: int
    gid: int
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


def set_looks(descriptor: int, looks: Looks) -> None:
    """Give an open file its owner, permission bits and attributes; what already fits is not touched.

    The group before any bit: it may be the folder's, which has no right to see it. The owner in the units, where we
    have no right over the files of others but to give files away: last of one of ours, first of another's. Attributes
    before the bits, which may be read-only; bits after the ACL, which moves them, and once more after an owner, who
    drops set-id bits. A file system without attributes, or a policy against them, is no failure.
    """
    uid = os.fstat(descriptor).st_uid
    _set_owner(descriptor, uid if uid == os.geteuid() else looks.uid, looks.gid)
    for name in sorted(looks.xattrs, key=lambda name: (name == ACL, name)):
        try:
            os.setxattr(descriptor, name, looks.xattrs[name])
        except OSError as error:
            if error.errno not in _IGNORED:
                raise
    _set_mode(descriptor, looks)
    if _set_owner(descriptor, looks.uid, looks.gid):
        _set_mode(descriptor, looks)


def _set_owner(descriptor: int, uid: int, gid: int) -> bool:
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) == (uid, gid):
        return False
    os.fchown(descriptor, uid, gid)
    return True


def _set_mode(descriptor: int, looks: Looks) -> None:
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != looks.mode:
        os.fchmod(descriptor, looks.mode)


def read_xattrs(descriptor: int) -> dict[str, bytes]:
    """Read the attributes that a replacement must carry on: SELinux label, ACL, `user.*`.

    Not `security.ima` and `security.evm` (they sign the old bytes), not `security.capability`.
    """
    found = {}
    try:
        for name in os.listxattr(descriptor):
            if name in {"security.selinux", ACL} or name.startswith("user."):
                found[name] = os.getxattr(descriptor, name)
    except OSError as error:
        if error.errno not in _IGNORED:
            raise
    return found


def open_regular(folder: int, name: str, path: str, flags: int = os.O_RDONLY) -> int | None:
    """Open a regular file in `folder` without following a link or waiting for a pipe; None when nothing is there.

    Raises UnsafeFile for anything else than a regular file, OSError.
    """
    try:
        descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeFile(path=path, what="a symbolic link") from error
        if error.errno in {errno.EISDIR, errno.ENXIO}:
            raise UnsafeFile(path=path, what="not a regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnsafeFile(path=path, what="not a regular file")
    return descriptor


def looks_of(descriptor: int) -> Looks:
    """Read an open file's looks. Raises OSError."""
    status = os.fstat(descriptor)
    mode = stat.S_IMODE(status.st_mode)
    return Looks(mode=mode, uid=status.st_uid, gid=status.st_gid, xattrs=read_xattrs(descriptor))


def looks_at(folder: int, name: str, path: str) -> Looks | None:
    """Read a file's looks; None when nothing is there. Raises UnsafeFile, OSError."""
    descriptor = open_regular(folder, name, path)
    if descriptor is None:
        return None
    try:
        return looks_of(descriptor)
    finally:
        os.close(descriptor)


def read_at_most(file: BinaryIO, most: int) -> bytes:
    """Read a file's bytes, at most one more than `most`."""
    content = b""
    while len(content) <= most and (piece := file.read(min(PIECE, most + 1 - len(content)))):
        content += piece
    return content
