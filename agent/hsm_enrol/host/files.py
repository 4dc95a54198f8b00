"""Knows how to replace, mend and remove a file so that anybody looking sees the old one or the new one, never half.

All through the folder's descriptor: temp beside the target, fsync, rename, fsync of the folder. Names of temporaries
are `.hsm-enrol.` and eight hex digits; the target's own name is not in them, it may already be 255 bytes long.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from contextlib import contextmanager, suppress
from dataclasses import field
from typing import TYPE_CHECKING

from hsm_enrol.errors import CannotTell, CannotWrite, UnsafeFile
from hsm_enrol.host.folders import errno_name, open_folder
from hsm_enrol.shapes import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

OURS = re.compile(r"\.hsm-enrol\.[0-9a-f]{8}\Z")
ACL = "system.posix_acl_access"
_IGNORED = {errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA}
_BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What a file has beside its bytes: permission bits, owner, and the extended attributes worth keeping."""

    mode: int
    uid: int
    gid: int
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


@contextmanager
def _writing(path: str) -> Iterator[None]:
    """Translate the kernel's refusals, once, into an error that names the path."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(path=path, error=errno_name(error)) from error


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
) -> None:
    """Replace or make the regular file `path` with exactly these bytes, permission bits and owner.

    `uid`, `gid`: None is our own. `xattrs`: None keeps those of the file that is replaced. `private`: the folder must
    not be writable by its group. `guard` is called right before the rename and may raise to leave all as it was.
    Raises CannotWrite, UnsafeFolder, UnsafeFile (a link, or nothing a rename may replace).
    """
    name = os.path.basename(path)
    with _writing(path), open_folder(os.path.dirname(path), root, private=private) as folder:
        old = looks_at(folder, name, path)
        keep = xattrs if xattrs is not None else old.xattrs if old else {}
        looks = Looks(
            mode=mode,
            uid=os.geteuid() if uid is None else uid,
            gid=os.getegid() if gid is None else gid,
            xattrs=keep,
        )
        temp = make_temp(folder, content, looks)
        try:
            if guard:
                guard()
            os.rename(temp, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                wipe(folder, temp)
            raise
        os.fsync(folder)


def make_temp(folder: int, content: bytes, looks: Looks) -> str:
    """Write a new file under a name of ours in `folder`, looking as told and safe on disk; give its name.

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
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        with suppress(OSError):
            wipe(folder, name)
        raise
    return name


def set_looks(descriptor: int, looks: Looks) -> None:
    """Give an open file its owner, permission bits and attributes; what already fits is not touched.

    The owner first (chown drops set-id bits), the ACL last; as it moves mode bits, they are looked at once more. A file
    system without attributes, or a policy against them, is no failure.
    """
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (looks.uid, looks.gid):
        os.fchown(descriptor, looks.uid, looks.gid)
    if stat.S_IMODE(status.st_mode) != looks.mode:
        os.fchmod(descriptor, looks.mode)
    for name in sorted(looks.xattrs, key=lambda name: (name == ACL, name)):
        try:
            os.setxattr(descriptor, name, looks.xattrs[name])
        except OSError as error:
            if error.errno not in _IGNORED:
                raise
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


def set_mode(path: str, *, mode: int, uid: int, gid: int, root: str = "") -> None:
    """Mend permission bits and owner by descriptor; the bytes are not touched. Raises CannotWrite, UnsafeFile."""
    with _writing(path), open_folder(os.path.dirname(path), root) as folder:
        descriptor = open_regular(folder, os.path.basename(path), path)
        if descriptor is None:
            raise FileNotFoundError(errno.ENOENT, "gone", path)
        try:
            set_looks(descriptor, Looks(mode=mode, uid=uid, gid=gid))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def drop_file(path: str, *, root: str = "") -> None:
    """Remove a file for good: zeros over its bytes, fsync, unlink, fsync of the folder. Nothing there is fine.

    The zeros are for image snapshots, which copy free blocks; on copy-on-write file systems they promise nothing.
    Raises CannotWrite, UnsafeFolder, UnsafeFile.
    """
    with _writing(path):
        try:
            with open_folder(os.path.dirname(path), root) as folder:
                if looks_at(folder, os.path.basename(path), path) is not None:
                    wipe(folder, os.path.basename(path))
                    os.fsync(folder)
        except (FileNotFoundError, NotADirectoryError):
            return


def remove_file(path: str, *, root: str = "") -> None:
    """Unlink a file that holds no secret; nothing there is fine. Whole or gone: it is never seen as zeros.

    Raises CannotWrite, UnsafeFolder.
    """
    absent_is_fine = suppress(FileNotFoundError, NotADirectoryError)
    with _writing(path), absent_is_fine, open_folder(os.path.dirname(path), root) as folder:
        os.unlink(os.path.basename(path), dir_fd=folder)
        os.fsync(folder)


def wipe(folder: int, name: str) -> None:
    """Overwrite a regular file of ours with zeros, then unlink it. One with a second name is only unlinked.

    A full, failing or read-protected file must not keep its name alive, so only the unlink can fail: OSError.
    """
    with suppress(OSError, UnsafeFile):
        descriptor = open_regular(folder, name, name, os.O_WRONLY)
        if descriptor is not None:
            try:
                status = os.fstat(descriptor)
                left = status.st_size if status.st_nlink == 1 else 0
                while left > 0:
                    left -= os.write(descriptor, bytes(min(left, _BLOCK)))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    os.unlink(name, dir_fd=folder)


def make_folder(path: str, *, root: str = "", mode: int = 0o755) -> None:
    """Make one folder of ours, inside an existing one; already there is fine. Raises as put_file does."""
    with _writing(path), open_folder(os.path.dirname(path), root) as parent:
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
    with _writing(path), open_folder(os.path.dirname(path), root) as folder:
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
    with _writing(path), open_folder(path, root) as folder:
        os.fsync(folder)


def fsync_file(path: str, *, root: str = "") -> None:
    """Make a file that somebody else wrote safe on disk; nothing there is fine. Raises CannotWrite, UnsafeFile."""
    with _writing(path), open_folder(os.path.dirname(path), root) as folder:
        descriptor = open_regular(folder, os.path.basename(path), path)
        if descriptor is not None:
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def sweep(folder: str, *, root: str = "") -> int:
    """Remove what killed runs left in `folder`, under the lock: files and links with our names, whatever their age.

    Whoever owns them: a copy kept for an undo has its original's owner. In a sticky folder a stranger can give a file
    such a name; then it is that stranger's own loss, for one with a second name is not written to.
    Gives how many. A folder that is not there has no litter. Raises CannotWrite, UnsafeFolder.
    """
    count = 0
    with _writing(folder):
        try:
            with open_folder(folder, root) as descriptor:
                for name in filter(OURS.match, os.listdir(descriptor)):
                    status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        wipe(descriptor, name)
                        count += 1
                    elif stat.S_ISLNK(status.st_mode):
                        os.unlink(name, dir_fd=descriptor)
                        count += 1
                if count:
                    os.fsync(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return 0
    return count


def read_file(path: str, *, limit: int = 1 << 20, root: str = "") -> bytes | None:
    """Read a small regular file of ours; None when it is not there. Raises CannotTell, UnsafeFile."""
    try:
        with open_folder(os.path.dirname(path), root) as folder:
            descriptor = open_regular(folder, os.path.basename(path), path)
            if descriptor is None:
                return None
            with open(descriptor, "rb") as file:
                content = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CannotTell(path=path, error=errno_name(error)) from error
    if len(content) > limit:
        raise CannotTell(path=path, error="EFBIG")
    return content
