"""Knows how to make files go, with zeros over the bytes where a secret may be in them, and what killed runs left."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress

from hsm_enrol.errors import UnsafeFile
from hsm_enrol.host.folders import open_folder, writing
from hsm_enrol.host.looks import looks_at, open_regular

OURS = re.compile(r"\.hsm-enrol\.[0-9a-f]{8}\Z")
_BLOCK = 64 * 1024


def drop_file(path: str, *, root: str = "") -> None:
    """Remove a file for good: zeros over its bytes, fsync, unlink, fsync of the folder. Nothing there is fine.

    The zeros are for image snapshots, which copy free blocks; on copy-on-write file systems they promise nothing.
    Raises CannotWrite, UnsafeFolder, UnsafeFile.
    """
    with writing(path):
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
    with writing(path), absent_is_fine, open_folder(os.path.dirname(path), root) as folder:
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


def sweep(folder: str, *, root: str = "") -> int:
    """Remove what killed runs left in `folder`, under the lock: files and links with our names, whatever their age.

    Whoever owns them: a copy kept for an undo has its original's owner. In a sticky folder a stranger can give a file
    such a name; then it is that stranger's own loss, for one with a second name is not written to.
    Gives how many. A folder that is not there has no litter. Raises CannotWrite, UnsafeFolder.
    """
    count = 0
    with writing(folder):
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
