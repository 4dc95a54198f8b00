"""Knows how to write a file so that a reader sees the old or the new content, and a power cut loses neither."""

from __future__ import annotations

import os
import secrets
import struct
from pathlib import Path

# acl(5) as the kernel keeps it (include/uapi/linux/posix_acl_xattr.h): a version, then tag, permissions and id of each.
ACL = "system.posix_acl_access"
_VERSION, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_OWNER, _USER, _MASK = 0x01, 0x02, 0x10


def write_file(path: Path, content: bytes, *, mode: int, replace: bool = False) -> None:
    """Write whole: temporary file in the same folder (O_EXCL, `mode`), fsync, rename, fsync the folder.

    Without `replace` an existing file is an error (FileExistsError), decided by link(2), which never overwrites. With
    it a link stays: what it leads to is replaced, so that all who read the file get the new one.
    """
    path = Path(os.path.realpath(path)) if replace else path
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        if replace:
            temporary.rename(path)
        else:
            path.hardlink_to(temporary)
            temporary.unlink()
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make renames and new names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_secret(path: Path) -> bytes:
    """Read a secret file; PermissionError when others than its owner may read or write it."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if _is_open_to_others(handle):
            raise PermissionError(f"{path} may be read by others; chmod 600 it")
        return file.read(65536)


def _is_open_to_others(handle: int) -> bool:
    """Tell whether anybody but its owner and this process's user has rights to a file.

    systemd may give a service its credentials by an ACL of root's file, whose mode is then 0440: with an ACL the
    group's bits of a mode are the most that anybody named in it has, and not the group's own.
    """
    if not os.fstat(handle).st_mode & 0o077:
        return False
    try:
        entries = _ENTRY.iter_unpack(os.getxattr(handle, ACL)[_VERSION.size :])
    except OSError:  # it has none: the mode says it all
        return True
    return any(
        rights and tag not in {_OWNER, _MASK} and (tag, who) != (_USER, os.geteuid()) for tag, rights, who in entries
    )
