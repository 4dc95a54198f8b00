"""Knows how to reach a folder without being led astray: link by link under --root, each step owned by root."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hsm_enrol.errors import CannotWrite, UnsafeFile, UnsafeFolder
from hsm_enrol.shapes import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINKS = 40  # the kernel's own limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One symbolic link on the way: where it stands and the text it holds."""

    path: str
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """Where a path leads: the links in front of the file (not those among the folders), and the file's real path."""

    links: tuple[Link, ...]
    path: str


def errno_name(error: OSError) -> str:
    """Give an OSError's name (`ENOSPC`), which is safe to print; its text may hold a path."""
    return errno.errorcode.get(error.errno or 0, "EIO")


def follow(path: str, root: str = "") -> Trail:
    """Follow the links of every component of `path`, the last one too; absolute ones start again at `root`.

    What does not exist ends the following: a dangling link leads to a path where nothing is.
    Raises UnsafeFile on a loop, UnsafeFolder when a link stands where somebody else could exchange it, OSError.
    """
    trail = _resolve(path, root, last=True)
    for link in trail.links:
        with open_folder(os.path.dirname(link.path), root):
            pass
    return trail


def real_path(path: str, root: str = "") -> str:
    """Give `path` with the links among its folders followed, its last component left as it is."""
    return _resolve(path, root, last=False).path


def with_links(path: str) -> list[str]:
    """Give a path and, where a link stands there, each place that it leads to; for looking only."""
    found = [path]
    while os.path.islink(found[-1]) and len(found) <= MAX_LINKS:
        found.append(os.path.join(os.path.dirname(found[-1]), os.readlink(found[-1])))
    return found


def _resolve(path: str, root: str, *, last: bool) -> Trail:
    todo, budget = deque(_parts(path, root)), MAX_LINKS
    done: list[str] = []
    links: list[Link] = []
    while todo:
        part = todo.popleft()
        if part == "..":
            del done[-1:]
            continue
        here = "/".join([root, *done, part])
        to = _link_text(here) if todo or last else None
        if to is None:
            done.append(part)
            continue
        budget -= 1
        if budget < 0:
            raise UnsafeFile(path=path, what="a loop of symbolic links")
        if not todo:
            links.append(Link(path=here, to=to))
        if to.startswith("/"):
            done.clear()
        todo.extendleft(reversed(_parts(to, root)))
    return Trail(links=tuple(links), path="/".join([root, *done]) or "/")


def below(root: str, path: str) -> str:
    """Give the path on disk of a path that is meant under root; one that already starts with root stays."""
    return "/".join([root, *_parts(path, root)]) if root else path


def _parts(path: str, root: str) -> list[str]:
    """Split a path into components below root; one that already starts with root is not prefixed twice."""
    if root and (path == root or path.startswith(root + "/")):
        path = path[len(root) :]
    return [part for part in path.split("/") if part not in {"", "."}]


def _link_text(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.ENOENT, errno.ENOTDIR}:  # not a link, or nothing there
            return None
        raise


@contextmanager
def open_folder(folder: str, root: str = "", *, private: bool = False, judge: bool = True) -> Iterator[int]:
    """Open a folder for dir_fd work, walking down from root (or /) without following a link unseen.

    Every folder on the way must belong to root (or to whoever runs us, in the laboratory) and must not be writable by
    others unless sticky; a `private` one not by its group either. `judge=False` is for looking only. Whoever names
    --root vouches for the way to it.
    Raises UnsafeFolder, OSError.
    """
    parts = _parts(real_path(folder, root), root)
    flags = os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(root or "/", flags | (os.O_PATH if parts else os.O_RDONLY))
    try:
        if judge:
            _judge(descriptor, folder, private=private and not parts)
        for left, part in zip(range(len(parts) - 1, -1, -1), parts, strict=True):
            access = os.O_PATH if left else os.O_RDONLY
            inner = os.open(part, flags | access | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
            if judge:
                _judge(descriptor, folder, private=private and not left)
        yield descriptor
    finally:
        os.close(descriptor)


def _judge(descriptor: int, folder: str, *, private: bool) -> None:
    status = os.fstat(descriptor)
    others = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
    group = private and status.st_mode & stat.S_IWGRP and not status.st_mode & stat.S_ISVTX
    if status.st_uid not in {0, os.geteuid()} or others or group:
        raise UnsafeFolder(path=folder)


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Translate the kernel's refusals, once, into an error that names the path."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(path=path, error=errno_name(error)) from error
