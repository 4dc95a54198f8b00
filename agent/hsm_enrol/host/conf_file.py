"""Knows how to replace Chrystoki.conf where it really is, behind its links, and only if nobody else wrote it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import field
from typing import TYPE_CHECKING

from hsm_enrol.errors import CannotTell, ClientMissing, UnsafeFile
from hsm_enrol.host import files
from hsm_enrol.host.folders import Trail, below, errno_name, follow, open_folder
from hsm_enrol.shapes import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES = 1 << 20


class Moved(Exception):
    """The file is not the one that was read: look and plan again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfText:
    """The file as it was read: bytes, looks, the links in front of it, and what tells this very file from another."""

    path: str
    trail: Trail
    content: bytes = field(repr=False)
    looks: files.Looks
    stamp: tuple[int, int, int]  # device, inode, mtime in ns

    @property
    def text(self) -> str:
        """Give the text; every byte survives, those that are not UTF-8 as lone surrogates."""
        return self.content.decode("utf-8", "surrogateescape")


def read_conf(path: str, root: str = "") -> ConfText:
    """Read the conf through its links. Raises ClientMissing (there is none), CannotTell, UnsafeFile, UnsafeFolder."""
    disk = below(root, path)
    try:
        trail = follow(disk, root)
        with open_folder(os.path.dirname(trail.path), root) as folder:
            name = os.path.basename(trail.path)
            descriptor = files.open_regular(folder, name, trail.path)
            if descriptor is None:
                raise ClientMissing(path=path)
            with open(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                content = files.read_at_most(file, MAX_BYTES)
                looks = files.looks_of(descriptor)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ClientMissing(path=path) from error
    except OSError as error:
        raise CannotTell(path=path, error=errno_name(error)) from error
    if len(content) > MAX_BYTES:
        raise CannotTell(path=path, error="EFBIG")
    stamp = (status.st_dev, status.st_ino, status.st_mtime_ns)
    return ConfText(path=disk, trail=trail, content=content, looks=looks, stamp=stamp)


def write_conf(read: ConfText, text: str, root: str = "") -> None:
    """Replace the file that was read by `text`, looking as before; links stay. Raises Moved, CannotWrite.

    Compared right before the rename: bytes, inode, time. What remains are microseconds, and a writer that holds the
    old file open. The folder is flushed by whoever commits: the journal, before its record.
    """

    def unmoved() -> None:
        now = read_conf(read.path, root)
        if (now.content, now.stamp, now.trail) != (read.content, read.stamp, read.trail):
            raise Moved

    _replace(read, text, root, unmoved)


def rewrite_conf(read: ConfText, text: str, root: str = "") -> None:
    """Put `text` where the conf was when it was `read`, and its links back, whatever a tool made of them meanwhile."""
    _replace(read, text, root, None)
    for link in reversed(read.trail.links):
        files.put_link(link.path, link.to, root=root)


def must_have_one_name(path: str, root: str = "") -> None:
    """See that an edit reaches whoever reads the conf: under a second name (hard link) it would stay as it is.

    Before a transaction is opened: undoing one splits the two as well. Raises UnsafeFile.
    """
    with suppress(OSError):  # said elsewhere, and by more than this
        if os.stat(follow(below(root, path), root).path).st_nlink > 1:
            raise UnsafeFile(path=path, what="one of several hard links")


def encoded(text: str) -> bytes:
    """Give the bytes of a text that was read."""
    return text.encode("utf-8", "surrogateescape")


def _replace(read: ConfText, text: str, root: str, guard: Callable[[], None] | None) -> None:
    looks = read.looks
    files.put_file(
        read.trail.path,
        encoded(text),
        mode=looks.mode,
        uid=looks.uid,
        gid=looks.gid,
        xattrs=looks.xattrs,
        root=root,
        guard=guard,
        flush="file",
    )
