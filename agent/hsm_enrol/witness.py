"""Knows what a file looked like, in one row: path, mode, owner, digest. Small: a run with nothing to do needs it.

Only os and hashlib (which the interpreter's own start has mostly paid for): see idle.py.
"""

import hashlib
import os
import stat

Row = list[str | int]  # [path, st_mode, uid, gid, sha256 in hex]; an absent file has mode 0

MAX_BYTES = 1 << 20


def look(path: str, name: str, *, digest: bool = True) -> Row:
    """Describe what stands at `path`, under the name `name`. A link is described itself, not followed.

    `digest=False` is for a file that holds a PIN: a PIN is guessable, so no digest of it may be kept anywhere.
    """
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            content = os.fsencode(os.readlink(path))  # noqa: PTH115  pathlib is not imported here
        elif stat.S_ISREG(found.st_mode) and digest:
            with open(path, "rb", buffering=0, opener=_no_link) as file:
                content = file.read(min(found.st_size + 1, MAX_BYTES))  # not more: Python sets it all aside
        else:
            content = b""
    except FileNotFoundError:
        return [name, 0, 0, 0, ""]
    except NotADirectoryError:
        return [name, 0, 0, 0, ""]
    return [name, found.st_mode, found.st_uid, found.st_gid, hashlib.sha256(content).hexdigest() if digest else ""]


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
