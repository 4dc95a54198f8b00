"""Knows how to keep what stands at a path in a copy beside it, and how to put it back by renaming."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from hsm_enrol.errors import CannotWrite, EnrolError
from hsm_enrol.host import files
from hsm_enrol.host.folders import errno_name, open_folder
from hsm_enrol.shapes import dataclass

DISPLACED = ".hsm-enrol-displaced"
MOST_DISPLACED = 9  # of one file; the last name is used again, so that no fault that comes back fills a disk
ByHand = Callable[[str, bytes, bytes], bool]
"""Path on disk, what was saved, what stands there now: does it hold work that must not get lost?"""


def nobodys(*_: object) -> bool:
    """Say of every file that it may be replaced."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What stood at a path: a `file` (`to` = its copy, `inode` = the copy's), a `link` (`to` = its text), `absent`."""

    path: str
    was: str
    to: str = ""
    inode: int = 0

    def is_sound(self) -> bool:
        """Tell whether this can have been written by us: a copy lies beside its original, under a name of ours."""
        beside = os.path.dirname(self.to) == os.path.dirname(self.path)
        copy = beside and files.OURS.match(os.path.basename(self.to)) is not None
        return {"file": copy, "link": bool(self.to), "absent": not self.to}.get(self.was, False)


def keep(path: str, root: str) -> Entry | None:
    """Copy what stands at `path`, with its looks, to a name beside it; a folder that is there needs no entry.

    Raises CannotWrite, UnsafeFile, UnsafeFolder.
    """
    try:
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            return None
        if stat.S_ISLNK(status.st_mode):
            return Entry(path=path, was="link", to=os.readlink(path))
        folder = os.path.dirname(path)
        with open_folder(folder, root) as descriptor:
            name = os.path.basename(path)
            looks = files.looks_at(descriptor, name, path)
            source = files.open_regular(descriptor, name, path)
            if looks is None or source is None:
                return Entry(path=path, was="absent")
            with open(source, "rb") as file:
                copy = files.make_temp(descriptor, file.read(), looks)
            inode = os.stat(copy, dir_fd=descriptor, follow_symlinks=False).st_ino
        return Entry(path=path, was="file", to=f"{folder}/{copy}", inode=inode)
    except (FileNotFoundError, NotADirectoryError):
        return Entry(path=path, was="absent")
    except OSError as error:
        raise CannotWrite(path=path, error=errno_name(error)) from error


def put_back(entry: Entry, root: str, by_hand: ByHand, displaced: list[str]) -> bool:
    """Put one path back as it was; False when it could not be done. Doing it twice does no harm.

    A file that `by_hand` calls a person's work is renamed beside itself first, and its new path added to `displaced`.
    """
    try:
        with open_folder(os.path.dirname(entry.path), root) as folder:
            name = os.path.basename(entry.path)
            if entry.was == "file":
                return _bring_back(entry, folder, root, by_hand, displaced)
            if entry.was == "link":
                files.link_at(folder, name, entry.to)
            else:
                _remove(folder, name, entry.path, root)
    except (FileNotFoundError, NotADirectoryError):
        return entry.was == "absent" or _is_volatile(entry.path, root)
    except (OSError, EnrolError):
        return False
    return True


def _is_volatile(path: str, root: str) -> bool:
    """Tell whether a reboot empties the place: then neither the file nor its copy is missed."""
    return path.startswith(f"{root}/run/")


def _inode(folder: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino
    except FileNotFoundError:
        return None


def _bring_back(entry: Entry, folder: int, root: str, by_hand: ByHand, displaced: list[str]) -> bool:
    name, saved = os.path.basename(entry.path), os.path.basename(entry.to)
    if _inode(folder, saved) is None:  # brought back already (then its inode is there), or somebody deleted the copy
        inode = _inode(folder, name)
        return inode == entry.inode or (inode is None and _is_volatile(entry.path, root))
    old, new = _content(folder, saved, entry.to), _content(folder, name, entry.path)
    if old is not None and new is not None and old != new and by_hand(entry.path, old, new):
        aside = _name_aside(folder, name, entry.path, new)
        os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
        displaced.append(os.path.join(os.path.dirname(entry.path), aside))
    try:
        os.rename(saved, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:  # immutable, or mounted there: then nobody else has replaced it either, and the copy is swept
        looks = [files.looks_at(folder, one, entry.path) for one in (saved, name)]
        return old == new and looks[0] == looks[1]
    return True


def _name_aside(folder: int, name: str, path: str, content: bytes) -> str:
    """Give a name that is free, or has this content already: an earlier edit that was kept is not lost either."""
    for number in range(1, MOST_DISPLACED + 1):
        aside = name + DISPLACED + ("" if number == 1 else f"-{number}")
        if _inode(folder, aside) is None or _content(folder, aside, path) == content:
            break
    return aside


def _content(folder: int, name: str, path: str) -> bytes | None:
    try:
        descriptor = files.open_regular(folder, name, path)
    except EnrolError:  # a link or worse stands there now: the rename replaces it
        return None
    if descriptor is None:
        return None
    with open(descriptor, "rb") as file:
        return file.read()


def _remove(folder: int, name: str, path: str, root: str) -> None:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        files.sweep(path, root=root)  # a folder we made holds no copies, only what a killed write left
        try:
            os.rmdir(name, dir_fd=folder)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:  # files that no step named are not ours to remove
                raise
    else:
        files.wipe(folder, name)
